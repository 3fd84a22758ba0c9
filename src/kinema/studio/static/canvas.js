// The picture with its parts: drag a part to where it is to end, or paint the target. Also by keyboard: Tab to a part,
// arrow keys move it (Shift: farther), Delete puts it back. props.value: see canvas.py.
const NS = 'http://www.w3.org/2000/svg';
const root = element.querySelector('.kn-canvas');
let mode = 'drag', chosen = null, drawing = null, held = null, shown = null;

const make = (name, attributes, parent) => {
  const node = document.createElementNS(NS, name);
  for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
  if (parent) parent.appendChild(node);
  return node;
};
const button = (text, title, act, parent) => {
  const node = document.createElement('button');
  node.type = 'button'; node.className = 'kn-tool'; node.textContent = text; node.title = title;
  node.onclick = act; parent.appendChild(node);
  return node;
};
const words = name => name.replaceAll('_', ' ');
const value = () => props.value || {};
const key = part => part.subject + '/' + part.part;
const dragOf = part => (value().drags || []).find(d => d.part === part.part && d.subject === part.subject);

function commit(change) {
  props.value = { ...value(), ...change };
  draw();
  trigger('input');
}
function setDrag(part, dx, dy, quiet) {
  const v = value(), [x, y] = anchor(part);
  const end = [Math.min(Math.max(x + dx, 1), v.width - 1), Math.min(Math.max(y + dy, 1), v.height - 1)];
  const others = (v.drags || []).filter(d => !(d.part === part.part && d.subject === part.subject));
  const moved = Math.hypot(dx, dy) > 0.5;
  const drags = moved ? [...others, { part: part.part, subject: part.subject, start: [x, y], end }] : others;
  if (quiet) { props.value = { ...v, drags }; drawTargets(); } else commit({ drags });
}
// A point on the part near its middle: where a drag begins must lie on the part.
function anchor(part) {
  const [cx, cy] = part.ellipse;
  if (inside(part.outline, cx, cy)) return [round(cx), round(cy)];
  const near = part.outline.reduce((a, b) => Math.hypot(a[0] - cx, a[1] - cy) < Math.hypot(b[0] - cx, b[1] - cy) ? a : b);
  return near.map(round);
}
const round = x => Math.round(x * 100) / 100;
function inside(outline, x, y) {
  let odd = false;
  for (let i = 0, j = outline.length - 1; i < outline.length; j = i++) {
    const [xi, yi] = outline[i], [xj, yj] = outline[j];
    if ((yi > y) !== (yj > y) && x < (xj - xi) * (y - yi) / (yj - yi) + xi) odd = !odd;
  }
  return odd;
}
function point(svg, event) {
  const box = svg.getBoundingClientRect(), v = value();
  return [(event.clientX - box.left) / box.width * v.width, (event.clientY - box.top) / box.height * v.height];
}

let svg, targets, hint, list;
function draw() {
  const v = value();
  if (!v.picture) {
    root.innerHTML = '<p class="kn-empty">' + (root.dataset.empty || 'Choose a picture first.') + '</p>';
    shown = null; svg = null;
    return;
  }
  if (shown === v.picture && svg) { drawTargets(); return; }
  shown = v.picture; root.innerHTML = ''; chosen = v.parts.length ? v.parts[0] : null;
  const bar = document.createElement('div'); bar.className = 'kn-toolbar'; bar.setAttribute('role', 'toolbar');
  bar.setAttribute('aria-label', 'tools of the picture'); root.appendChild(bar);
  const dragging = button('Drag a part', 'Drag parts to where they are to end', () => choose('drag'), bar);
  const painting = button('Paint a target', 'Paint where the chosen part is to end', () => choose('paint'), bar);
  if (root.dataset.paint === 'no') { dragging.style.display = painting.style.display = 'none'; }
  const select = document.createElement('select'); select.className = 'kn-tool'; select.setAttribute('aria-label', 'part to paint');
  v.parts.forEach((p, k) => { const o = document.createElement('option'); o.value = k; o.textContent = words(p.part) + (p.subject ? ' (' + (p.subject + 1) + ')' : ''); select.appendChild(o); });
  select.onchange = () => { chosen = v.parts[select.value]; };
  bar.appendChild(select);
  button('Clear', 'Put all parts back', () => commit({ drags: [], shapes: [] }), bar);
  const toggle = button('Hide parts', 'Show or hide the parts over the picture', () => {
    const hidden = svg.classList.toggle('kn-bare'); toggle.textContent = hidden ? 'Show parts' : 'Hide parts'; }, bar);
  function choose(what) {
    mode = what; select.style.display = what === 'paint' ? '' : 'none';
    dragging.setAttribute('aria-pressed', what === 'drag'); painting.setAttribute('aria-pressed', what === 'paint');
    svg.classList.toggle('kn-painting', what === 'paint');
    hint.textContent = what === 'drag' ? root.dataset.hint + ' By keyboard: Tab to a part, then the arrow keys.'
      : 'Paint around the place where the part is to end.';
  }
  svg = make('svg', { viewBox: `0 0 ${v.width} ${v.height}`, role: 'group', 'aria-label': 'the picture and its parts' });
  svg.style.aspectRatio = v.width + ' / ' + v.height;
  svg.style.maxWidth = `min(100%, ${Math.round(62 * v.width / v.height)}vh)`;
  make('image', { href: v.picture, width: v.width, height: v.height }, svg);
  const unit = Math.max(v.width, v.height) / 500;
  svg.style.setProperty('--unit', unit);
  const layer = make('g', { class: 'kn-parts' }, svg);
  for (const part of v.parts) {
    const shape = make('polygon', { points: part.outline.map(p => p.join(',')).join(' '), fill: part.colour, tabindex: 0, role: 'button',
      'aria-label': words(part.part) + ': arrow keys move it', 'data-part': part.part, 'data-subject': part.subject }, layer);
    make('title', {}, shape).textContent = words(part.part);
    shape.onpointerdown = event => {
      if (mode !== 'drag') return;
      event.preventDefault(); shape.focus({ preventScroll: true }); svg.setPointerCapture(event.pointerId);
      const drag = dragOf(part), at = point(svg, event);
      held = { part, at, from: drag ? [drag.end[0] - drag.start[0], drag.end[1] - drag.start[1]] : [0, 0] };
    };
    shape.onkeydown = event => {
      const step = (event.shiftKey ? 8 : 2) * unit * 2, moves = { ArrowLeft: [-step, 0], ArrowRight: [step, 0], ArrowUp: [0, -step], ArrowDown: [0, step] };
      const drag = dragOf(part), now = drag ? [drag.end[0] - drag.start[0], drag.end[1] - drag.start[1]] : [0, 0];
      if (event.key === 'Delete' || event.key === 'Backspace') setDrag(part, 0, 0);
      else if (moves[event.key]) setDrag(part, now[0] + moves[event.key][0], now[1] + moves[event.key][1]);
      else return;
      event.preventDefault();
    };
  }
  targets = make('g', { class: 'kn-targets' }, svg);
  svg.onpointerdown = event => {
    if (mode !== 'paint' || !chosen) return;
    event.preventDefault(); svg.setPointerCapture(event.pointerId); drawing = [point(svg, event)];
  };
  svg.onpointermove = event => {
    const at = point(svg, event);
    if (held) setDrag(held.part, held.from[0] + at[0] - held.at[0], held.from[1] + at[1] - held.at[1], true);
    if (drawing && drawing.length < 390) { drawing.push(at.map(round)); drawTargets(); }
  };
  svg.onpointerup = svg.onpointercancel = () => {
    if (held) { held = null; commit({}); }
    if (drawing) {
      const polygon = drawing.map(p => p.map(round)); drawing = null;
      const rest = (value().shapes || []).filter(s => !(s.part === chosen.part && s.subject === chosen.subject));
      const drags = (value().drags || []).filter(d => !(d.part === chosen.part && d.subject === chosen.subject));
      if (polygon.length > 5) commit({ shapes: [...rest, { part: chosen.part, subject: chosen.subject, polygon }], drags });
      else drawTargets();
    }
  };
  root.appendChild(svg);
  hint = document.createElement('p'); hint.className = 'kn-hint'; root.appendChild(hint);
  list = document.createElement('p'); list.className = 'kn-hint'; list.setAttribute('role', 'status'); root.appendChild(list);
  choose(mode); drawTargets();
}
function drawTargets() {
  if (!targets) return;
  const v = value(); targets.innerHTML = '';
  for (const drag of v.drags || []) {
    const part = v.parts.find(p => p.part === drag.part && p.subject === drag.subject);
    if (!part) continue;
    const [cx, cy, rx, ry, degrees] = part.ellipse, dx = drag.end[0] - drag.start[0], dy = drag.end[1] - drag.start[1];
    make('ellipse', { cx: cx + dx, cy: cy + dy, rx, ry, fill: part.colour, transform: `rotate(${degrees} ${cx + dx} ${cy + dy})`, class: 'kn-target' }, targets);
    make('line', { x1: drag.start[0], y1: drag.start[1], x2: drag.end[0], y2: drag.end[1], class: 'kn-arrow' }, targets);
    make('circle', { cx: drag.end[0], cy: drag.end[1], r: 1, class: 'kn-tip' }, targets);
  }
  for (const shape of v.shapes || []) {
    const part = v.parts.find(p => p.part === shape.part);
    make('polygon', { points: shape.polygon.map(p => p.join(',')).join(' '), fill: part ? part.colour : '#fff', class: 'kn-target' }, targets);
  }
  if (drawing) make('polyline', { points: drawing.map(p => p.join(',')).join(' '), class: 'kn-stroke' }, targets);
  const said = [...(v.drags || []).map(d => words(d.part) + ' moved'), ...(v.shapes || []).map(s => words(s.part) + ' painted')];
  if (list) list.textContent = said.length ? 'Targets: ' + said.join(', ') + '.' : root.dataset.none;
}
draw();
watch('value', draw);
