'use strict';

// The module: what page.hpp declares, and what it gave of the text and the settings last.
let library;
let tokens = [];    // their texts
let weights, sums;  // heads · tokens × tokens, and tokens × heads

// It asks for no more of its system than to say why it stops.
async function loadLibrary() {
  let words = '';
  const view = () => new DataView(library.memory.buffer);
  const system = {
    proc_exit() { throw new Error(words || 'the library stopped'); },
    fd_close: () => 0,
    fd_seek: () => 0,
    fd_write(file, pieces, count, written) {
      let total = 0;
      for (let i = 0; i < count; ++i) {
        const begin = view().getUint32(pieces + 8 * i, true), size = view().getUint32(pieces + 8 * i + 4, true);
        words += new TextDecoder().decode(new Uint8Array(library.memory.buffer, begin, size));
        total += size;
      }
      view().setUint32(written, total, true);
      return 0;
    },
  };
  const code = Uint8Array.from(atob(document.getElementById('wasm').textContent), c => c.charCodeAt(0));
  library = (await WebAssembly.instantiate(code, {wasi_snapshot_preview1: system})).instance.exports;
  library._initialize();
}

function readText(text) {
  const room = new Uint8Array(library.memory.buffer, library.text_buffer(), library.text_capacity());
  const count = library.read_text(new TextEncoder().encodeInto(text, room).written), decoder = new TextDecoder();
  tokens = Array.from({length: count},
                      (_, i) => decoder.decode(room.slice(library.token_begin(i), library.token_end(i))));
}

function attend({scale, cap, window, causal, weighBy, bias}) {
  const n = tokens.length, begin = library.attend_to(scale, cap, window, causal, weighBy, bias);
  weights = new Float32Array(library.memory.buffer, begin, library.head_total() * n * n);
  sums = new Float32Array(library.memory.buffer, library.row_sums(), n * library.head_total());
}

const weight = (head, query, key) => weights[(head * tokens.length + query) * tokens.length + key];
const sum = (head, query) => sums[query * library.head_total() + head];
