// One or two motions in 3D, in step: drag to turn (or arrow keys), wheel or + and - for nearer and farther, a time slider.
// Painted on a plain canvas, so that it works everywhere. Joints that were hardly seen are red. props.value: see view3d.py.
const root = element.querySelector('.kn-view3d');
const SURE = 0.5, JOINT_PX = 3;
let data = null, shown = null, angle = 0.5, tilt = 0.12, zoom = 1, share = 0, playing = !matchMedia('(prefers-reduced-motion: reduce)').matches, surface = true, last = 0;

function numbers(text, Kind) {
  const raw = atob(text), bytes = new Uint8Array(raw.length);
  for (let i = 0; i < raw.length; i++) bytes[i] = raw.charCodeAt(i);
  return new Kind(bytes.buffer);
}
function unpack(scene) {
  const subjects = scene.subjects.map(s => ({ ...s, faces: numbers(s.faces, Uint16Array), vertices: numbers(s.vertices, Int16Array),
    joints: numbers(s.joints, Int16Array), confidence: numbers(s.confidence, Uint8Array) }));
  const low = [1e9, 1e9, 1e9], high = [-1e9, -1e9, -1e9];
  for (const s of subjects) for (let i = 0; i < s.vertices.length; i++) {
    const k = i % 3, x = s.vertices[i] * scene.step_m; if (x < low[k]) low[k] = x; if (x > high[k]) high[k] = x; }
  return { ...scene, subjects, low, high };
}
let canvas, slider, time, context;
function build() {
  const value = props.value;
  if (!value || !value.scenes || !value.scenes.length) {
    root.innerHTML = '<p class="kn-empty">' + (root.dataset.empty || 'The motion comes here as soon as it is read.') + '</p>'; data = shown = canvas = null; return; }
  if (shown === value.id) return;
  const first = !canvas; shown = value.id; data = value.scenes.map(unpack);
  if (first) {
    root.innerHTML = '';
    canvas = document.createElement('canvas'); canvas.tabIndex = 0; canvas.setAttribute('role', 'img'); root.appendChild(canvas);
    context = canvas.getContext('2d');
    const bar = document.createElement('div'); bar.className = 'kn-toolbar'; root.appendChild(bar);
    const tool = (text, act) => { const b = document.createElement('button'); b.type = 'button'; b.className = 'kn-tool'; b.textContent = text; b.onclick = () => act(b); bar.appendChild(b); return b; };
    tool(playing ? 'Pause' : 'Play', b => { playing = !playing; b.textContent = playing ? 'Pause' : 'Play'; last = 0; run(); });
    slider = document.createElement('input'); slider.type = 'range'; slider.min = 0; slider.max = 1000; slider.value = 0;
    slider.setAttribute('aria-label', 'time'); slider.oninput = () => { playing = false; bar.firstChild.textContent = 'Play'; share = slider.value / 1000; paint(); };
    bar.appendChild(slider);
    time = document.createElement('span'); time.className = 'kn-time'; bar.appendChild(time);
    tool('Skeleton only', b => { surface = !surface; b.textContent = surface ? 'Skeleton only' : 'Show bodies'; paint(); });
    let from = null;
    canvas.onpointerdown = e => { from = [e.clientX, e.clientY, angle, tilt]; canvas.setPointerCapture(e.pointerId); };
    canvas.onpointermove = e => { if (from) { angle = from[2] + (e.clientX - from[0]) / 120; tilt = Math.min(1.5, Math.max(-.3, from[3] + (e.clientY - from[1]) / 160)); paint(); } };
    canvas.onpointerup = canvas.onpointercancel = () => { from = null; };
    canvas.onwheel = e => { e.preventDefault(); zoom = Math.min(5, Math.max(.4, zoom * Math.exp(-e.deltaY / 700))); paint(); };
    canvas.onkeydown = e => {
      const turn = { ArrowLeft: [-.15, 0], ArrowRight: [.15, 0], ArrowUp: [0, .1], ArrowDown: [0, -.1] }[e.key];
      if (turn) { angle += turn[0]; tilt = Math.min(1.5, Math.max(-.3, tilt + turn[1])); }
      else if (e.key === '+' || e.key === '=') zoom = Math.min(5, zoom * 1.15);
      else if (e.key === '-') zoom = Math.max(.4, zoom / 1.15); else return;
      e.preventDefault(); paint();
    };
    new ResizeObserver(paint).observe(root);
  }
  canvas.setAttribute('aria-label', data.map(s => s.title).join(' beside ') + ': 3D view; arrow keys turn it, plus and minus zoom');
  if (data[0].eye_m && first) {
    const c = [0, 1, 2].map(k => (data[0].low[k] + data[0].high[k]) / 2);
    angle = Math.atan2(data[0].eye_m[0] - c[0], data[0].eye_m[2] - c[2]);
  }
  paint(); run();
}
function run() {
  if (!playing || !data) return;
  requestAnimationFrame(now => {
    if (!playing || !data || !document.contains(root)) return;
    const seconds = Math.max(...data.map(s => s.frames / s.fps), .1);
    if (last && root.offsetParent) { share = (share + (now - last) / 1000 / seconds) % 1; paint(); }
    last = now; run();
  });
}
function paint() {
  if (!canvas || !data || !root.offsetParent) return;
  const ratio = window.devicePixelRatio || 1, width = root.clientWidth, tall = width < 420 && data.length > 1;
  const height = Math.round(tall ? width * 1.3 : Math.min(340, Math.max(220, width * (data.length > 1 ? .5 : .7))));
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio); canvas.height = Math.round(height * ratio); canvas.style.height = height + 'px'; }
  context.setTransform(ratio, 0, 0, ratio, 0, 0); context.clearRect(0, 0, width, height);
  const low = [0, 1, 2].map(k => Math.min(...data.map(s => s.low[k]))), high = [0, 1, 2].map(k => Math.max(...data.map(s => s.high[k])));
  data.forEach((scene, k) => {
    const w = tall ? width : width / data.length, h = tall ? height / data.length : height;
    context.save(); context.beginPath(); const x = tall ? 0 : k * w, y = tall ? k * h : 0;
    context.rect(x, y, w, h); context.clip(); context.translate(x, y);
    paintScene(scene, w, h, low, high); context.restore();
  });
  if (data.length > 1) { context.strokeStyle = '#94a3b8'; context.beginPath();
    if (tall) { context.moveTo(0, height / 2); context.lineTo(width, height / 2); } else { context.moveTo(width / 2, 0); context.lineTo(width / 2, height); } context.stroke(); }
  const scene = data[data.length - 1], frame = frameOf(scene);
  slider.value = Math.round(share * 1000); time.textContent = `frame ${frame + 1} of ${scene.frames}`;
  slider.setAttribute('aria-valuetext', time.textContent);
}
const frameOf = scene => Math.min(scene.frames - 1, Math.floor(share * scene.frames));
function paintScene(scene, w, h, low, high) {
  const f = frameOf(scene), centre = [0, 1, 2].map(k => (low[k] + high[k]) / 2);
  const size = Math.max(high[1] - low[1], Math.hypot(high[0] - low[0], high[2] - low[2]), .3);
  const scale = Math.min(w, h) * .8 / size * zoom, ca = Math.cos(angle), sa = Math.sin(angle), ct = Math.cos(tilt), st = Math.sin(tilt);
  const see = (x, y, z) => { x -= centre[0]; y -= centre[1]; z -= centre[2];
    const right = x * ca - z * sa, toward = x * sa + z * ca; return [w / 2 + right * scale, h / 2 - (y * ct - toward * st) * scale + 6, toward * ct + y * st]; };
  context.strokeStyle = '#64748b88'; context.lineWidth = 1;
  const span = Math.ceil(size), cx = Math.round(centre[0]), cz = Math.round(centre[2]);
  for (let i = -span; i <= span; i++) for (const [a, b] of [[[cx + i, cz - span], [cx + i, cz + span]], [[cx - span, cz + i], [cx + span, cz + i]]]) {
    const p = see(a[0], 0, a[1]), q = see(b[0], 0, b[1]); context.beginPath(); context.moveTo(p[0], p[1]); context.lineTo(q[0], q[1]); context.stroke(); }
  const triangles = [], tints = [[165, 180, 252], [134, 239, 172], [253, 186, 116], [240, 171, 252]];
  scene.subjects.forEach((s, number) => {
    if (!surface && s.names.length) return;
    const points = new Array(s.points), at = f * s.points * 3, step = scene.step_m;
    for (let i = 0; i < s.points; i++) points[i] = see(s.vertices[at + 3 * i] * step, s.vertices[at + 3 * i + 1] * step, s.vertices[at + 3 * i + 2] * step);
    for (let i = 0; i < s.faces.length; i += 3) {
      const a = points[s.faces[i]], b = points[s.faces[i + 1]], c = points[s.faces[i + 2]];
      const turn = (b[0] - a[0]) * (c[1] - a[1]) - (b[1] - a[1]) * (c[0] - a[0]);
      if (s.names.length && turn >= 0) continue;
      triangles.push([a[2] + b[2] + c[2], a, b, c, number]);
    }
  });
  triangles.sort((a, b) => a[0] - b[0]);
  for (const [, a, b, c, number] of triangles) {
    const ux = b[0] - a[0], uy = b[1] - a[1], uz = (b[2] - a[2]) * scale, vx = c[0] - a[0], vy = c[1] - a[1], vz = (c[2] - a[2]) * scale;
    const nx = uy * vz - uz * vy, ny = uz * vx - ux * vz, nz = ux * vy - uy * vx, n = Math.hypot(nx, ny, nz) || 1;
    const light = .35 + .65 * Math.max(0, (-.35 * -nx + .55 * ny + .75 * -nz) / n), t = tints[number % 4];
    context.fillStyle = context.strokeStyle = `rgb(${t[0] * light | 0},${t[1] * light | 0},${t[2] * light | 0})`; context.lineWidth = .6;
    context.beginPath(); context.moveTo(a[0], a[1]); context.lineTo(b[0], b[1]); context.lineTo(c[0], c[1]); context.closePath(); context.fill(); context.stroke();
  }
  let doubtful = 0;
  for (const s of scene.subjects) {
    const count = s.names.length, at = f * count * 3;
    const joint = j => see(s.joints[at + 3 * j] * scene.step_m, s.joints[at + 3 * j + 1] * scene.step_m, s.joints[at + 3 * j + 2] * scene.step_m);
    if (!surface) { context.strokeStyle = '#e2e8f0'; context.lineWidth = 2;
      for (let j = 0; j < count; j++) if (s.parents[j] >= 0) { const p = joint(j), q = joint(s.parents[j]); context.beginPath(); context.moveTo(p[0], p[1]); context.lineTo(q[0], q[1]); context.stroke(); } }
    for (let j = 0; j < count; j++) {
      const sure = s.confidence[f * count + j] / 255, bad = sure < SURE || !s.valid[f];
      if (bad) doubtful++; if (surface && !bad) continue;
      const p = joint(j); context.fillStyle = bad ? '#f87171' : '#38bdf8'; context.strokeStyle = '#0f172a'; context.lineWidth = 1;
      context.beginPath(); context.arc(p[0], p[1], JOINT_PX, 0, 7); context.fill(); context.stroke();
    }
  }
  context.fillStyle = '#f1f5f9'; context.font = '13px system-ui, sans-serif'; context.fillText(scene.title || '', 10, 20);
  if (doubtful) { context.fillStyle = '#fca5a5'; context.fillText(`${doubtful} joints hardly seen`, 10, h - 10); }
}
build();
watch('value', build);
