// Weights as colours: by their square root, so that small ones show.
let colours = [];
const property = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

function readColours() {
  const stops = property('--heat').split(',').map(
      hex => [1, 3, 5].map(i => parseInt(hex.trim().slice(i, i + 2), 16)));
  colours = Array.from({length: 256}, (_, i) => {
    const x = i / 255 * (stops.length - 1), low = Math.min(Math.floor(x), stops.length - 2);
    return stops[low].map((c, j) => Math.round(c + (x - low) * (stops[low + 1][j] - c)));
  });
}
const colour = weight => colours[Math.round(255 * Math.sqrt(Math.min(1, weight)))];

function drawLegend() {
  const canvas = byId('legend'), context = canvas.getContext('2d');
  for (let x = 0; x < canvas.width; ++x) {
    context.fillStyle = `rgb(${colour(x / (canvas.width - 1))})`;
    context.fillRect(x, 0, 1, 1);
  }
}

// A square, cleared, in pixels of the page.
function startDrawing(canvas) {
  const ratio = window.devicePixelRatio || 1, context = canvas.getContext('2d');
  canvas.width = canvas.height = Math.round(canvas.clientWidth * ratio);
  context.scale(ratio, ratio);
  context.imageSmoothingEnabled = false;
  return context;
}

// Enlarges an image that has a pixel for each pair; of those that a mask hides nothing is drawn.
const pixels = document.createElement('canvas');
function drawWeights(context, head, left, top, size) {
  const n = tokens.length;
  if (n === 0) return;
  const image = new ImageData(n, n);
  for (let query = 0, at = 0; query < n; ++query) {
    for (let key = 0; key < n; ++key, at += 4) {
      if (!isSeen(query, key)) continue;
      image.data.set(colour(weight(head, query, key)), at);
      image.data[at + 3] = 255;
    }
  }
  pixels.width = pixels.height = n;
  pixels.getContext('2d').putImageData(image, 0, 0);
  context.drawImage(pixels, left, top, size, size);
}

function drawHeads() {
  byId('heads').childNodes.forEach((button, head) => {
    const canvas = button.firstChild;
    drawWeights(startDrawing(canvas), head, 0, 0, canvas.clientWidth);
    button.setAttribute('aria-checked', head === state.head);
  });
}

// The chosen head, large, with the words beside it.
const map = {begin: 0, cell: 1};
function drawMap() {
  const canvas = byId('map'), context = startDrawing(canvas), n = tokens.length, size = canvas.clientWidth;
  if (n === 0) return;
  const words = tokens.map(word => word.length > 12 ? word.slice(0, 11) + '…' : word);
  context.font = `${Math.max(7, Math.min(13, 420 / n))}px ${getComputedStyle(document.body).fontFamily}`;
  const begin = map.begin = 8 + Math.max(...words.map(word => context.measureText(word).width));
  const cell = map.cell = (size - begin) / n;
  drawWeights(context, state.head, begin, begin, size - begin);

  context.strokeStyle = property('--paper');
  context.beginPath();
  for (let i = 1; i < n; ++i) {
    const at = begin + i * cell;
    context.moveTo(at, begin), context.lineTo(at, size);
    context.moveTo(begin, at), context.lineTo(size, at);
  }
  context.stroke();

  const soft = property('--soft'), accent = property('--accent');
  context.textBaseline = 'middle';
  words.forEach((word, i) => {
    const middle = begin + (i + 0.5) * cell;
    context.fillStyle = i === state.token ? accent : soft;
    context.textAlign = 'right';
    context.fillText(word, begin - 5, middle);
    context.save();
    context.fillStyle = soft;
    context.textAlign = 'left';
    context.translate(middle, begin - 5);
    context.rotate(-Math.PI / 2);
    context.fillText(word, 0, 0);
    context.restore();
  });
  context.strokeStyle = accent;
  context.lineWidth = 2;
  context.strokeRect(begin, begin + state.token * cell, size - begin - 1, cell);
}

// The words, in the colours of the weights that the chosen one gives them.
function drawStrip() {
  const strip = byId('strip');
  while (strip.childNodes.length > tokens.length) strip.lastChild.remove();
  while (strip.childNodes.length < tokens.length) {
    const button = element('button', {type: 'button'}, element('span'), element('small'));
    button.setAttribute('role', 'option');
    strip.append(button);
  }
  strip.childNodes.forEach((button, key) => {
    const w = weight(state.head, state.token, key), seen = isSeen(state.token, key), [r, g, b] = colour(w);
    button.firstChild.textContent = tokens[key];
    button.lastChild.textContent = !seen ? '–' : w === 0 ? '0' : w.toFixed(3);
    button.dataset.weight = w;
    button.className = seen ? '' : 'unseen';
    button.style.background = seen ? `rgb(${r}, ${g}, ${b})` : '';
    button.style.color = !seen ? '' : 0.3 * r + 0.59 * g + 0.11 * b > 140 ? '#1f2328' : '#ffffff';
    button.setAttribute('aria-selected', key === state.token);
    button.tabIndex = key === state.token ? 0 : -1;
  });
  drawReadout();
}

function drawReadout() {
  const readout = byId('readout');
  if (tokens.length === 0) return readout.replaceChildren('Type a few words.');
  const row = tokens.map((_, key) => weight(state.head, state.token, key)), total = sum(state.head, state.token);
  const most = row.indexOf(Math.max(...row)), bold = text => element('b', {textContent: text});
  readout.dataset.sum = total;
  readout.replaceChildren(bold(tokens[state.token]), ' looks most at ', bold(tokens[most]),
                          ` (${row[most].toFixed(3)}). Its row adds up to `, bold(total.toFixed(3)),
                          hasSink() ? `; the sink took ${(1 - total).toFixed(3)}.` : '.');
}
