// Two clips frame by frame under one slider. props.value: {id, clips: [{title, fps, frames: [data urls]}, ...]}.
const root = element.querySelector('.kn-pair');
let clips = null, shown = null, share = 0, playing = false, last = 0, pictures = [], slider, time, play;
function build() {
  const value = props.value;
  if (!value || !value.clips) { root.innerHTML = '<p class="kn-empty">Two results, side by side, come here.</p>'; clips = shown = null; return; }
  if (shown === value.id) return;
  shown = value.id; clips = value.clips; root.innerHTML = ''; pictures = [];
  const row = document.createElement('div'); row.className = 'kn-two'; root.appendChild(row);
  for (const clip of clips) {
    const figure = document.createElement('figure'), image = document.createElement('img'), caption = document.createElement('figcaption');
    image.alt = clip.title; caption.textContent = clip.title; figure.append(image, caption); row.appendChild(figure); pictures.push(image);
  }
  const bar = document.createElement('div'); bar.className = 'kn-toolbar'; root.appendChild(bar);
  play = document.createElement('button'); play.type = 'button'; play.className = 'kn-tool';
  play.onclick = () => { playing = !playing; last = 0; label(); run(); }; bar.appendChild(play);
  slider = document.createElement('input'); slider.type = 'range'; slider.min = 0; slider.max = 1000; slider.value = 0; slider.setAttribute('aria-label', 'time of both');
  slider.oninput = () => { playing = false; label(); share = slider.value / 1000; paint(); }; bar.appendChild(slider);
  time = document.createElement('span'); time.className = 'kn-time'; bar.appendChild(time);
  playing = !matchMedia('(prefers-reduced-motion: reduce)').matches; label(); paint(); run();
}
const label = () => { play.textContent = playing ? 'Pause' : 'Play'; };
const seconds = clip => clip.frames.length / clip.fps;
function paint() {
  const whole = Math.max(...clips.map(seconds));
  clips.forEach((clip, k) => { const f = Math.min(clip.frames.length - 1, Math.floor(share * whole * clip.fps)); pictures[k].src = clip.frames[f]; });
  slider.value = Math.round(share * 1000); time.textContent = `${(share * whole).toFixed(2)} of ${whole.toFixed(2)} s`;
  slider.setAttribute('aria-valuetext', time.textContent);
}
function run() {
  if (!playing || !clips) return;
  requestAnimationFrame(now => {
    if (!playing || !clips || !document.contains(root)) return;
    if (last && root.offsetParent) { share = (share + (now - last) / 1000 / Math.max(...clips.map(seconds), .1)) % 1; paint(); }
    last = now; run();
  });
}
build();
watch('value', build);
