const byId = id => document.getElementById(id);
const element = (name, properties = {}, ...children) => {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
};

// The heads of heads.hpp, in its order.
const heads = [
  ['Previous token', 'Looks one word back. Every query and key is the same vector; only RoPE, which turns them by ' +
      'their positions, tells words apart.'],
  ['Nearby words', 'The nearer, the more: a score that falls by 0.5 a word, which is ALiBi. It knows nothing of the ' +
      'words.'],
  ['Same letters', 'A word looks at words of its kin. Queries and keys are made of its letters, three in a row, so ' +
      'chased finds chasing.'],
  ['What came next', 'Looks at what followed the same word before, and so guesses what comes next: an induction ' +
      'head. A new word finds nothing and looks about, unless there is a sink.'],
  ['Last punctuation', 'Looks at the nearest comma or full stop: a score for what is punctuation, and ALiBi to ' +
      'prefer the latest.'],
  ['Learner', 'Random weights over words and positions, as every head begins. Let it learn, by the backward pass, to ' +
      'look where the next word stood.'],
];
// Of page.hpp, in its order.
const normalizers = {
  softmax: 'Every word gets some weight, and a row adds up to 1, less what a sink takes.',
  sparsemax: 'Straight lines for the exponential: words that match badly get exactly 0. No sink.',
  entmax15: 'Half way from softmax to sparsemax: exact zeros, but fewer. No sink.',
  sigmoid: 'Each word is judged by itself: a row may add up to anything.',
};

// What the controls say. At one end of their range some leave a part out.
const start = {scale: 1, cap: 10.5, causal: true, window: 33, normalizer: 'softmax', sink: -2.25, bias: -3};
let state = {...start, head: 2, token: 23};
const sliders = ['scale', 'cap', 'window', 'sink', 'bias'];
const isOff = name => state[name] === start[name] && ['cap', 'window', 'sink'].includes(name);
const hasSink = () => state.normalizer === 'softmax' && !isOff('sink');

const settings = () => ({
  scale: state.scale,
  cap: isOff('cap') ? 0 : state.cap,
  window: isOff('window') ? 0 : state.window,
  causal: state.causal,
  weighBy: Object.keys(normalizers).indexOf(state.normalizer),
  bias: state.normalizer === 'sigmoid' ? state.bias : isOff('sink') ? -Infinity : state.sink,
});

const isSeen = (query, key) => !(state.causal && key > query) &&
                               (isOff('window') || Math.abs(query - key) < state.window);

// The chosen head's attention, as its user would write it.
function lineOfCode() {
  const float = x => (Number.isInteger(x) ? x + '.' : String(+x.toFixed(4))) + 'f';
  const {scale, cap, causal, window} = settings(), slope = library.head_slope(state.head);
  const parts = ['scaled_dot_product'];
  if (scale !== 1) parts.push(`scale(${float(scale)})`);
  if (cap > 0) parts.push(`soft_cap(${float(cap)})`);
  if (slope > 0 && causal) parts.push(`alibi(${float(slope)})`);
  if (slope > 0 && !causal) {
    parts.push(`modifier([](auto s, auto p) { return s - ${float(slope)} * abs(decltype(s)(p.query - p.key)); })`);
  }
  if (causal) parts.push(window > 0 ? `(causal & sliding_window(${window}))` : 'causal');
  if (!causal && window > 0) parts.push(`sliding_window(${window - 1}, ${window - 1})`);
  parts.push(hasSink() ? `softmax_with_sink(${float(state.sink)})`
             : state.normalizer === 'sigmoid' ? `sigmoid(${float(state.bias)})` : state.normalizer);
  return parts;
}

// The last head learns some steps a frame.
const lesson = {done: 0, left: 0, loss: 0};
function learnOn() {
  if (lesson.left === 0) return;
  lesson.loss = library.learn(4);
  lesson.done += 4;
  lesson.left -= 4;
  redraw();
  requestAnimationFrame(learnOn);
}
function learn() {
  const runs = lesson.left > 0;
  lesson.left += 200;
  if (!runs) learnOn();
}
function forget() {
  library.forget();
  Object.assign(lesson, {done: 0, left: 0});
  redraw();
}
function showLesson() {
  byId('lesson').hidden = state.head !== heads.length - 1;
  byId('lesson').dataset.left = lesson.left;
  const share = Math.round(100 * Math.exp(-lesson.loss));
  byId('progress').textContent =
      lesson.done === 0 ? '' : lesson.loss === 0 ? 'No word comes again: there is nothing to learn.'
                        : `${lesson.done} steps: ${share} % of the weight on the next word, where it stood before.`;
}

function showSettings() {
  for (const name of sliders) {
    byId(name).value = state[name];
    byId(name + '-value').textContent = isOff(name) ? 'off' : state[name].toFixed(name === 'window' ? 0 : 2);
  }
  byId('causal').checked = state.causal;
  document.getElementsByName('normalizer').forEach(input => { input.checked = input.value === state.normalizer; });
  byId('normalizer-idea').textContent = normalizers[state.normalizer];
  byId('for-sink').hidden = state.normalizer !== 'softmax';
  byId('for-bias').hidden = state.normalizer !== 'sigmoid';
  [byId('head-name').textContent, byId('head-idea').textContent] = heads[state.head];
  const most = tokens.length === 64 ? ', the most there can be' : '';
  byId('count').textContent = `${tokens.length} words and marks${most}`;
  showLesson();
  const parts = lineOfCode().flatMap(part => [element('i', {textContent: ' >> '}), part]);
  byId('line').replaceChildren(...parts.slice(1));
}

function redraw() {
  const begin = performance.now();
  attend(settings());
  const attended = performance.now();
  showSettings();
  drawStrip();
  drawMap();
  drawHeads();
  const times = {attend: attended - begin, draw: performance.now() - attended};
  Object.assign(byId('time').dataset, times);
  byId('time').textContent = ` · ${times.attend.toFixed(1)} ms to attend, ${times.draw.toFixed(1)} ms to draw`;
}
function change(what) {
  Object.assign(state, what);
  redraw();
}
function choose(token) {
  if (!(token >= 0 && token < tokens.length) || token === state.token) return;
  state.token = token;
  drawStrip();
  drawMap();
}
function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  readColours();
  drawLegend();
  redraw();
}
const otherTheme = () => setTheme(document.documentElement.dataset.theme === 'dark' ? 'light' : 'dark');

function pressed(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.id === 'text') return;
  const step = {ArrowLeft: -1, ArrowRight: 1}[event.key];
  if (event.key >= '1' && event.key <= String(heads.length)) change({head: Number(event.key) - 1});
  else if (event.key === 'd') otherTheme();
  else if (step && event.target.tagName !== 'INPUT') {
    choose(state.token + step);
    if (byId('strip').contains(document.activeElement)) byId('strip').childNodes[state.token].focus();
  }
}

function listen() {
  for (const name of sliders) byId(name).addEventListener('input', e => change({[name]: Number(e.target.value)}));
  byId('causal').addEventListener('input', e => change({causal: e.target.checked}));
  document.getElementsByName('normalizer').forEach(
      input => input.addEventListener('input', () => change({normalizer: input.value})));
  byId('learn').addEventListener('click', learn);
  byId('forget').addEventListener('click', forget);
  byId('reset').addEventListener('click', () => change(start));
  byId('text').addEventListener('input', () => {
    readText(byId('text').value);
    change({token: Math.max(0, tokens.length - 1)});
  });

  heads.forEach(([name], head) => {
    const key = element('kbd', {textContent: head + 1});
    const button = element('button', {type: 'button'}, element('canvas'), key, name);
    button.setAttribute('role', 'radio');
    button.addEventListener('click', () => change({head}));
    byId('heads').append(button);
  });
  const strip = byId('strip'), chooseWord = e => choose([...strip.childNodes].indexOf(e.target.closest('button')));
  for (const event of ['pointerover', 'focusin', 'click']) strip.addEventListener(event, chooseWord);
  byId('map').addEventListener('pointermove', e => choose(Math.floor((e.offsetY - map.begin) / map.cell)));
  document.addEventListener('keydown', pressed);
  window.addEventListener('resize', redraw);
  byId('theme').addEventListener('click', otherTheme);
}

window.addEventListener('error', e => { byId('prompt').textContent = e.message; });
loadLibrary().then(() => {
  byId('text').value = 'The dog chased the cat, the cat was chasing the rats, and the rats ate the cheese. ' +
                       'So the dog chases the cats.';
  readText(byId('text').value);
  listen();
  const dark = window.matchMedia('(prefers-color-scheme: dark)');
  const follow = () => setTheme(dark.matches ? 'dark' : 'light');
  dark.addEventListener('change', follow);
  follow();
  document.documentElement.dataset.ready = true;
}).catch(error => {
  byId('prompt').textContent = 'This page could not start: ' + error.message;
});
