'use strict';

const byId = id => document.getElementById(id);
const infinity = Number.POSITIVE_INFINITY;

// The names and ideas of heads.hpp's heads, in its order.
const heads = [
  ['Previous token', 'Looks one word back. Every query and key is the same vector; only RoPE, which turns them by their positions, tells words apart.'],
  ['Nearby words', 'The nearer, the more: ALiBi, a score that falls by 0.5 a word. It knows nothing of the words themselves.'],
  ['Same letters', 'A word looks at words of its kin. Queries and keys are made of its letters, three in a row, so chased finds chasing.'],
  ['What came next', 'Looks at what followed the same word before, and so guesses what comes next: an induction head. A new word finds nothing and looks about, unless there is a sink.'],
  ['Last punctuation', 'Looks at the nearest comma or full stop: a score for what is punctuation, and ALiBi to prefer the latest.'],
  ['Untrained', 'Random weights over letters and positions. This is how every head begins; training makes it mean something.'],
];
const normalizers = {
  softmax: 'Every word gets some weight, and a row adds up to 1, less what a sink takes.',
  sparsemax: 'Straight lines for the exponential: words that match badly get exactly 0. No sink.',
  entmax15: 'Half way from softmax to sparsemax: exact zeros, but fewer. No sink.',
  sigmoid: 'Each word is judged by itself: a row may add up to anything.',
};
const firstText = 'The dog chased the cat, the cat was chasing the rats, and the rats ate the cheese. So the dog chases the cats.';
const defaults = {scale: 1, cap: 10.5, causal: true, window: 33, normalizer: 'softmax', sink: -2.25, bias: -3, head: 2, token: 23};

let library;                  // what page.hpp declares
let tokens = [];              // their texts
let state = {...defaults};    // sliders as they stand
let weights, sums;            // of the last call: heads · tokens × tokens, tokens × heads

// The module asks for no more of its system than to say why it stops.
async function loadLibrary() {
  let words = '';
  const memory = () => new DataView(library.memory.buffer);
  const system = {
    proc_exit() { throw new Error(words || 'the library stopped'); },
    fd_close: () => 0,
    fd_seek: () => 0,
    fd_write(file, pieces, count, written) {
      let total = 0;
      for (let i = 0; i < count; ++i) {
        const at = memory().getUint32(pieces + 8 * i, true), size = memory().getUint32(pieces + 8 * i + 4, true);
        words += new TextDecoder().decode(new Uint8Array(library.memory.buffer, at, size));
        total += size;
      }
      memory().setUint32(written, total, true);
      return 0;
    },
  };
  const code = Uint8Array.from(atob(byId('wasm').textContent), c => c.charCodeAt(0));
  library = (await WebAssembly.instantiate(code, {wasi_snapshot_preview1: system})).instance.exports;
  library._initialize();
}

const off = {  // the ends of sliders, at which a part is left out
  cap: () => state.cap > 10, window: () => state.window > 32, sink: () => state.sink < -2,
};
const settings = () => ({
  scale: state.scale, cap: off.cap() ? 0 : state.cap, window: off.window() ? 0 : state.window, causal: state.causal,
  normalizer: Object.keys(normalizers).indexOf(state.normalizer),
  bias: state.normalizer === 'sigmoid' ? state.bias : off.sink() ? -infinity : state.sink,
});

// The attention of one head, as its user would write it.
function lineOfCode() {
  const real = x => (Number.isInteger(x) ? x + '.' : String(+x.toFixed(4))) + 'f';
  const slope = library.head_slope(state.head), s = settings(), parts = ['scaled_dot_product'];
  if (s.scale !== 1) parts.push(`scale(${real(s.scale)})`);
  if (s.cap > 0) parts.push(`soft_cap(${real(s.cap)})`);
  if (slope > 0) {
    parts.push(s.causal ? `alibi(${real(slope)})`
                        : `modifier([](auto s, auto p) { return s - ${real(slope)} * abs(decltype(s)(p.query - p.key)); })`);
  }
  if (s.causal) parts.push(s.window > 0 ? `(causal & sliding_window(${s.window}))` : 'causal');
  else if (s.window > 0) parts.push(`sliding_window(${s.window - 1}, ${s.window - 1})`);
  parts.push(state.normalizer === 'softmax' ? (off.sink() ? 'softmax' : `softmax_with_sink(${real(state.sink)})`)
             : state.normalizer === 'sigmoid' ? `sigmoid(${real(state.bias)})` : state.normalizer);
  return parts.join(' >> ');
}

function readText() {
  const encoder = new TextEncoder(), room = new Uint8Array(library.memory.buffer, library.text_buffer(), library.text_capacity());
  const {written} = encoder.encodeInto(byId('text').value, room);
  const count = library.read_text(written), decoder = new TextDecoder();
  tokens = Array.from({length: count}, (_, i) => decoder.decode(room.slice(library.token_begin(i), library.token_end(i))));
  state.token = Math.max(0, Math.min(state.token, count - 1));
  byId('count').textContent = `${count} words and marks` + (count === 64 ? ': the most that this page takes' : '');
}

function attend() {
  const s = settings(), n = tokens.length;
  const at = library.attend_to(s.scale, s.cap, s.window, s.causal, s.normalizer, s.bias);
  weights = new Float32Array(library.memory.buffer, at, heads.length * n * n);
  sums = new Float32Array(library.memory.buffer, library.row_sums(), n * heads.length);
}
const weight = (head, query, key) => weights[(head * tokens.length + query) * tokens.length + key];
const isSeen = (query, key) => {
  const distance = query - key;
  return !(state.causal && distance < 0) && (off.window() || Math.abs(distance) < state.window);
};

// Weights as colours: by their square root, so that small ones show.
let colours = [];
function readColours() {
  const style = getComputedStyle(document.documentElement);
  const rgb = hex => [1, 3, 5].map(i => parseInt(hex.slice(i, i + 2), 16));
  const stops = style.getPropertyValue('--heat').split(',').map(s => rgb(s.trim()));
  colours = Array.from({length: 256}, (_, i) => {
    const x = i / 255 * (stops.length - 1), low = Math.min(Math.floor(x), stops.length - 2);
    return stops[low].map((c, j) => Math.round(c + (x - low) * (stops[low + 1][j] - c)));
  });
}
const colour = w => colours[Math.round(255 * Math.sqrt(Math.min(1, w)))];

// Enlarges an image that has a pixel for each pair; of those that a mask hides nothing is drawn.
const pixels = document.createElement('canvas');
function drawWeights(context, head, left, top, size) {
  const n = tokens.length;
  if (n === 0) return;
  const image = new ImageData(n, n);
  for (let pair = 0; pair < n * n; ++pair) {
    if (!isSeen(Math.floor(pair / n), pair % n)) continue;
    image.data.set(colour(weights[head * n * n + pair]), 4 * pair);
    image.data[4 * pair + 3] = 255;
  }
  pixels.width = pixels.height = n;
  pixels.getContext('2d').putImageData(image, 0, 0);
  context.drawImage(pixels, left, top, size, size);
}

function startCanvas(canvas, height) {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round((height || width) * ratio);
  const context = canvas.getContext('2d');
  context.scale(ratio, ratio);
  context.imageSmoothingEnabled = false;
  return context;
}

const map = {left: 0, top: 0, cell: 1};
function drawMap() {
  const canvas = byId('map'), n = tokens.length, style = getComputedStyle(document.documentElement);
  const size = canvas.clientWidth, context = startCanvas(canvas), short = t => t.length > 12 ? t.slice(0, 11) + '…' : t;
  const font = Math.max(7, Math.min(13, 420 / n));
  context.font = `${font}px ${getComputedStyle(document.body).fontFamily}`;
  const label = Math.max(...tokens.map(t => context.measureText(short(t)).width)) + 8;
  Object.assign(map, {left: label, top: label, cell: (size - label) / n});
  drawWeights(context, state.head, map.left, map.top, map.cell * n);
  if (map.cell > 5) {
    context.strokeStyle = style.getPropertyValue('--paper');
    context.beginPath();
    for (let i = 1; i < n; ++i) {
      context.moveTo(map.left + i * map.cell, map.top), context.lineTo(map.left + i * map.cell, size);
      context.moveTo(map.left, map.top + i * map.cell), context.lineTo(size, map.top + i * map.cell);
    }
    context.stroke();
  }
  context.textBaseline = 'middle';
  for (let i = 0; i < n; ++i) {
    const middle = (i + 0.5) * map.cell;
    context.fillStyle = style.getPropertyValue(i === state.token ? '--accent' : '--soft');
    context.textAlign = 'right';
    context.fillText(short(tokens[i]), map.left - 5, map.top + middle);
    context.save();
    context.fillStyle = style.getPropertyValue('--soft');
    context.translate(map.left + middle, map.top - 5);
    context.rotate(-Math.PI / 2);
    context.textAlign = 'left';
    context.fillText(short(tokens[i]), 0, 0);
    context.restore();
  }
  context.strokeStyle = style.getPropertyValue('--accent');
  context.lineWidth = 2;
  if (n > 0) context.strokeRect(map.left, map.top + state.token * map.cell, map.cell * n, map.cell);
}

function drawHeads() {
  byId('heads').childNodes.forEach((button, head) => {
    const canvas = button.firstChild;
    drawWeights(startCanvas(canvas), head, 0, 0, canvas.clientWidth);
    button.setAttribute('aria-checked', head === state.head);
  });
}

function drawStrip() {
  const strip = byId('strip'), total = tokens.length ? sums[state.token * heads.length + state.head] : 0;
  while (strip.childNodes.length > tokens.length) strip.lastChild.remove();
  while (strip.childNodes.length < tokens.length) {
    const button = document.createElement('button');
    button.type = 'button';
    button.setAttribute('role', 'option');
    button.append(document.createElement('span'), document.createElement('small'));
    strip.append(button);
  }
  let most = 0;
  tokens.forEach((token, key) => {
    const button = strip.childNodes[key], w = weight(state.head, state.token, key), seen = isSeen(state.token, key);
    if (w > weight(state.head, state.token, most)) most = key;
    const [r, g, b] = colour(w);
    button.firstChild.textContent = token;
    button.lastChild.textContent = seen ? w.toFixed(3) : '–';
    button.dataset.weight = w;
    button.className = seen ? '' : 'unseen';
    button.style.background = seen ? `rgb(${r}, ${g}, ${b})` : '';
    button.style.color = seen ? (0.3 * r + 0.59 * g + 0.11 * b > 140 ? '#1f2328' : '#ffffff') : '';
    button.setAttribute('aria-selected', key === state.token);
    button.tabIndex = key === state.token ? 0 : -1;
  });
  const readout = byId('readout');
  readout.dataset.sum = total;
  const bold = text => Object.assign(document.createElement('b'), {textContent: text});
  readout.replaceChildren(...(tokens.length === 0 ? ['Type a few words.'] : [
    bold(tokens[state.token]), ' looks most at ', bold(tokens[most]), ` (${weight(state.head, state.token, most).toFixed(3)}). Its row adds up to `,
    bold(total.toFixed(3)), settings().normalizer === 0 && !off.sink() ? `; the sink took ${(1 - total).toFixed(3)}.` : '.']));
}

function showSettings() {
  for (const id of ['scale', 'cap', 'window', 'sink', 'bias']) {
    byId(id).value = state[id];
    byId(id + '-value').textContent = off[id] && off[id]() ? 'off' : id === 'window' ? state.window : state[id].toFixed(2);
  }
  byId('causal').checked = state.causal;
  for (const input of document.getElementsByName('normalizer')) input.checked = input.value === state.normalizer;
  byId('normalizer-idea').textContent = normalizers[state.normalizer];
  byId('for-sink').hidden = state.normalizer !== 'softmax';
  byId('for-bias').hidden = state.normalizer !== 'sigmoid';
  [byId('head-name').textContent, byId('head-idea').textContent] = heads[state.head];
  const line = byId('line'), marked = [];
  lineOfCode().split(' >> ').forEach((part, i) => {
    if (i > 0) marked.push(Object.assign(document.createElement('i'), {textContent: ' >> '}));
    marked.push(part);
  });
  line.replaceChildren(...marked);
}

function redraw(textChanged = false) {
  const start = performance.now();
  if (textChanged) readText();
  attend();
  const attended = performance.now();
  showSettings();
  drawStrip();
  drawMap();
  drawHeads();
  const end = performance.now();
  byId('time').textContent = ` · ${(attended - start).toFixed(1)} ms to attend, ${(end - attended).toFixed(1)} ms to draw`;
  Object.assign(byId('time').dataset, {attend: attended - start, draw: end - attended});
}

function listen() {
  for (const id of ['scale', 'cap', 'window', 'sink', 'bias']) byId(id).addEventListener('input', e => { state[id] = Number(e.target.value); redraw(); });
  byId('causal').addEventListener('input', e => { state.causal = e.target.checked; redraw(); });
  for (const input of document.getElementsByName('normalizer')) input.addEventListener('input', () => { state.normalizer = input.value; redraw(); });
  byId('text').addEventListener('input', () => redraw(true));
  byId('reset').addEventListener('click', () => { state = {...defaults, head: state.head, token: state.token}; redraw(); });

  const choose = token => { if (token >= 0 && token < tokens.length && token !== state.token) { state.token = token; drawStrip(); drawMap(); } };
  const strip = byId('strip'), index = target => [...strip.childNodes].indexOf(target.closest('button'));
  for (const event of ['pointerover', 'focusin', 'click']) strip.addEventListener(event, e => choose(index(e.target)));
  byId('map').addEventListener('pointermove', e => choose(Math.floor((e.offsetY - map.top) / map.cell)));

  const chooseHead = head => { state.head = head; redraw(); };
  heads.forEach(([name], head) => {
    const button = Object.assign(document.createElement('button'), {type: 'button'});
    const key = Object.assign(document.createElement('kbd'), {textContent: head + 1});
    button.setAttribute('role', 'radio');
    button.append(document.createElement('canvas'), key, name);
    button.addEventListener('click', () => chooseHead(head));
    byId('heads').append(button);
  });

  const setTheme = theme => {
    document.documentElement.dataset.theme = theme;
    readColours();
    const context = byId('legend').getContext('2d');
    for (let x = 0; x < 120; ++x) { context.fillStyle = `rgb(${colour(x / 119)})`; context.fillRect(x, 0, 1, 1); }
    redraw();
  };
  const toggle = () => setTheme(document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark');
  byId('theme').addEventListener('click', toggle);
  document.addEventListener('keydown', e => {
    if (e.ctrlKey || e.metaKey || e.altKey || e.target.id === 'text') return;
    if (e.key >= '1' && e.key <= String(heads.length)) chooseHead(Number(e.key) - 1);
    else if (e.key === 'd') toggle();
    else if ((e.key === 'ArrowLeft' || e.key === 'ArrowRight') && e.target.type !== 'range' && e.target.type !== 'radio') {
      choose(state.token + (e.key === 'ArrowLeft' ? -1 : 1));
      if (strip.contains(document.activeElement)) strip.childNodes[state.token].focus();
    }
  });
  window.addEventListener('resize', () => redraw());
  const dark = window.matchMedia('(prefers-color-scheme: dark)');
  dark.addEventListener('change', () => setTheme(dark.matches ? 'dark' : 'light'));
  readText();
  setTheme(dark.matches ? 'dark' : 'light');
}

window.addEventListener('error', e => { byId('prompt').textContent = e.message; });
loadLibrary().then(() => {
  byId('text').value = firstText;
  listen();
  document.documentElement.dataset.ready = true;
}).catch(error => {
  byId('prompt').textContent = 'This page could not start: ' + error.message;
});
