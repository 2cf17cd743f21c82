#!/usr/bin/env python3
"""Opens the page from disk in a headless Chromium, types, moves sliders and clicks as a person would, and compares what
the page then says with what browser_reference computes. Exit code 77: this machine lacks a browser, or the page.

check.py PAGE REFERENCE [PICTURE]     writes a picture of the page, if asked
"""
import base64
import json
import math
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import urllib.error
import urllib.request

OFF = -math.inf  # the bias of a softmax without sink
TOLERANCE = 4e-6  # scores of up to 24 in float, which packets of other widths sum up in another order
NORMALIZERS = ['softmax', 'sparsemax', 'entmax15', 'sigmoid']
KEYS = {'home': '\ue011', 'end': '\ue010', 'left': '\ue012', 'right': '\ue014', 'control': '\ue009', 'null': '\ue000'}


class Browser:
    """A Chromium by WebDriver (https://www.w3.org/TR/webdriver2/)."""

    def __init__(self):
        self.driver = subprocess.Popen(['chromedriver', '--port=0'], stdout=subprocess.PIPE, text=True)
        for line in self.driver.stdout:
            found = re.search(r'started successfully on port (\d+)', line)
            if found:
                break
        self.root = f'http://127.0.0.1:{found[1]}/session'
        options = ['--headless=new', '--disable-gpu', '--window-size=1240,1250', '--force-device-scale-factor=1',
                   '--hide-scrollbars', '--blink-settings=preferredColorScheme=1']
        if os.geteuid() == 0:
            options.append('--no-sandbox')
        browser = shutil.which('chromium') or shutil.which('google-chrome')
        self.root += '/' + self.call('POST', '', {'capabilities': {'alwaysMatch': {
            'goog:chromeOptions': {'args': options, 'binary': browser},
            'goog:loggingPrefs': {'browser': 'ALL'}}}})['sessionId']

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(self.root + path, data, {'Content-Type': 'application/json'}, method=method)
        try:
            with urllib.request.urlopen(request, timeout=120) as answer:
                return json.load(answer)['value']
        except urllib.error.HTTPError as error:
            raise RuntimeError(f'{method} {path}: {json.load(error)["value"]["message"]}') from None

    def close(self):
        try:
            self.call('DELETE', '')
        finally:
            self.driver.terminate()
            self.driver.wait()

    def open(self, page):
        self.call('POST', '/url', {'url': pathlib.Path(page).resolve().as_uri()})

    def run(self, script, *arguments):
        return self.call('POST', '/execute/sync', {'script': script, 'args': list(arguments)})

    def wait_for(self, script):
        self.call('POST', '/timeouts', {'script': 30000})
        waiting = f'const done = arguments[0], ask = () => {script} ? done() : setTimeout(ask, 20); ask();'
        self.call('POST', '/execute/async', {'script': waiting, 'args': []})

    def find(self, selector):
        found = self.call('POST', '/element', {'using': 'css selector', 'value': selector})
        return next(iter(found.values()))

    def click(self, selector):
        self.call('POST', f'/element/{self.find(selector)}/click', {})

    def type(self, selector, keys):
        self.call('POST', f'/element/{self.find(selector)}/value', {'text': keys})

    def press(self, key):
        self.call('POST', '/actions', {'actions': [{'type': 'key', 'id': 'keyboard', 'actions': [
            {'type': 'keyDown', 'value': key}, {'type': 'keyUp', 'value': key}]}]})

    def point_at(self, selector, x=0, y=0):
        """Moves the pointer so far from an element's centre."""
        origin = {'element-6066-11e4-a52e-4f735466cecf': self.find(selector)}
        self.call('POST', '/actions', {'actions': [{'type': 'pointer', 'id': 'mouse', 'actions': [
            {'type': 'pointerMove', 'origin': origin, 'x': x, 'y': y}]}]})

    def picture(self):
        return base64.b64decode(self.call('GET', '/screenshot'))


class Page(Browser):
    """What a person does with the page, and reads there."""

    def write(self, text):
        self.type('#text', KEYS['control'] + 'a' + KEYS['null'] + text)

    def slide(self, name, value):
        """By the keyboard, from the nearer end."""
        low, high, step = map(float, self.run('const {min, max, step} = document.getElementById(arguments[0]);'
                                              'return [min, max, step]', name))
        up, down = round((value - low) / step), round((high - value) / step)
        self.type('#' + name, KEYS['home'] + KEYS['right'] * up if up <= down else KEYS['end'] + KEYS['left'] * down)

    def set(self, scale=1, cap=0, window=0, causal=True, weigh_by=0, bias=OFF):
        self.slide('scale', scale)
        self.slide('cap', cap or 10.5)
        self.slide('window', window or 33)
        if self.run('return document.getElementById("causal").checked') != bool(causal):
            self.click('#causal')
        self.click(f'input[value={NORMALIZERS[weigh_by]}] + span')
        if weigh_by == 0:
            self.slide('sink', -2.25 if bias == OFF else bias)
        if weigh_by == 3:
            self.slide('bias', bias)

    def line(self):
        return self.run('return document.getElementById("line").textContent')

    def row(self):
        """Of the word that is chosen: its number, its weights, their sum, and the words as they read."""
        return self.run('''const words = [...document.querySelectorAll("#strip button")];
            return [words.findIndex(w => w.getAttribute("aria-selected") === "true"),
                    words.map(w => Number(w.dataset.weight)), Number(document.getElementById("readout").dataset.sum),
                    words.map(w => w.lastChild.textContent)];''')


def compute(reference, text, scale=1, cap=0, window=0, causal=True, weigh_by=0, bias=OFF):
    arguments = [text, scale, cap, window, int(causal), weigh_by, bias]
    return json.loads(subprocess.check_output([reference, *map(str, arguments)]))


def off_by(found, expected):
    assert len(found) == len(expected), f'{len(found)} numbers where there should be {len(expected)}'
    return max((abs(a - b) for a, b in zip(found, expected)), default=0)


def compare(page, reference, text, **settings):
    """All weights of all heads, as the page holds them, and rows of words that the pointer meets, as it shows them."""
    page.set(**settings)
    causal, window = settings.get('causal', True), settings.get('window', 0)
    expected = compute(reference, text, **settings)
    n, weights, sums = len(expected['tokens']), expected['weights'], expected['sums']
    worst = off_by(page.run('return [...weights, ...sums]'), weights + sums)
    for head in range(6):
        page.press(str(head + 1))
        token = (5 * head + 2) % n
        page.point_at(f'#strip button:nth-child({token + 1})')
        chosen, row, total, words = page.row()
        assert chosen == token, f'the pointer is at word {token}, but {chosen} is chosen'
        begin = (head * n + token) * n
        worst = max(worst, off_by(row, weights[begin:begin + n]), abs(total - sums[token * 6 + head]))
        for key, word in enumerate(words):
            seen = not (causal and key > token) and not 0 < window <= abs(token - key)
            assert (word != '–') == seen, f'word {key}, from {token}, reads {word}'
            assert not seen or abs(float(word) - row[key]) <= 5.001e-4, f'{word} is not {row[key]}'
    assert worst <= TOLERANCE, f'{settings}: off by {worst}'
    return worst


def check(page, path, reference, picture):
    size = os.path.getsize(path)
    assert size < 1_000_000, f'the page takes {size} bytes'
    page.open(path)
    page.wait_for('document.documentElement.dataset.ready')
    if picture:
        page.set(scale=0.8, window=24, bias=1.5)
        page.click('h1')
        pathlib.Path(picture).write_bytes(page.picture())
        page.click('#reset')

    text = 'The dog chased the cat, the cats were chasing “naïve” rats: a dog’s life. The cat sat.'
    page.write(text)
    settings = [{}, {'scale': 0}, {'scale': 3, 'causal': False}, {'cap': 2.5, 'bias': 1.5}, {'window': 1, 'bias': 0},
                {'window': 4, 'causal': False}]
    settings += [{'weigh_by': 1, 'scale': 0.4}, {'weigh_by': 2, 'window': 9}, {'weigh_by': 3, 'bias': -3},
                 {'weigh_by': 3, 'bias': 1, 'causal': False, 'window': 6, 'cap': 4, 'scale': 1.5}]
    worst = max(compare(page, reference, text, **s) for s in settings)
    print(f'{len(settings)} settings: weights and sums as computed natively, off by at most {worst:.1g}')

    cases = [json.loads(line) for line in subprocess.check_output([reference, '--lines', text], text=True).splitlines()]
    for case in cases:
        page.press(str(case.pop('head') + 1))
        line = case.pop('line')
        page.set(**case)
        assert page.line() == line, f'the page shows {page.line()}, not {line}'
    print(f'{len(cases)} lines of code as they were compiled and run')

    # The last head learns, and forgets.
    page.click('#reset')
    page.click('#heads button:nth-child(6)')
    before = page.run('return [...weights]')
    page.click('#learn')
    page.wait_for('document.getElementById("lesson").dataset.left === "0"')
    expected = json.loads(subprocess.check_output([reference, '--learn', text, '200']))
    worst = off_by(page.run('return [...weights]'), expected['weights'])
    share = f'{100 * math.exp(-expected["loss"]):.0f} % of the weight'
    told = page.run('return document.getElementById("progress").textContent')
    assert worst <= TOLERANCE, f'200 steps of learning: off by {worst}'
    assert share in told and expected['loss'] < 0.2, f'{told} Not {share}'
    print(f'200 steps of learning: {share} on the next word, off by at most {worst:.1g}')
    page.click('#forget')
    assert page.run('return [...weights]') == before

    # Words too many, and none.
    page.write('red green blue ' * 30)
    assert len(page.row()[1]) == 64
    page.write(' ')
    assert page.row()[1] == []
    page.write('Two words')
    compare(page, reference, 'Two words')

    # The map is pointed at, the theme changed.
    page.write(text)
    page.point_at('#map', 0, 0)
    assert 0 < page.row()[0] < 20
    before = page.run('return getComputedStyle(document.body).backgroundColor')
    page.click('#theme')
    assert page.run('return getComputedStyle(document.body).backgroundColor') != before

    # How long a change takes with 64 words, from the event on: in the handler, and until the next frame is painted.
    page.write(' '.join(f'{a}{b}' for a in ('light', 'dark', 'deep', 'pale') for b in range(16)))
    page.run('''window.times = [];
        document.addEventListener("input", event => requestAnimationFrame(() => {
            const painted = new MessageChannel(), {attend, draw} = document.getElementById("time").dataset;
            painted.port1.onmessage =
                () => times.push([Number(attend), Number(draw), performance.now() - event.timeStamp]);
            painted.port2.postMessage(0);
        }));''')
    for name in ('scale', 'window', 'scale'):
        for key in ('home', 'right', 'right', 'end', 'left', 'left'):
            page.type('#' + name, KEYS[key])
    page.wait_for('times.length === 18')
    attend, draw, painted = (statistics.median(column) for column in zip(*page.run('return times')))
    print(f'64 words, 18 changes, medians: {attend:.1f} ms to attend, {draw:.1f} ms to draw; '
          f'from the key to the picture {painted:.0f} ms')
    assert attend + draw < 50, 'a redraw takes 50 ms or more'

    asked = page.run('return performance.getEntriesByType("resource").map(e => e.name)')
    assert asked == [], f'the page asks for {asked}'
    told = [entry['message'] for entry in page.call('POST', '/se/log', {'type': 'browser'})]
    assert told == [], f'the page complains: {told}'
    print(f'nothing asked of a network; the page takes {size} bytes')


def main():
    path, reference, *picture = sys.argv[1:]
    if not os.path.exists(path):
        print(f'NOT RUN: no page at {path}: it takes emscripten to build it')
        return 77
    if not shutil.which('chromedriver') or not (shutil.which('chromium') or shutil.which('google-chrome')):
        print('NOT RUN: no Chromium with its driver here')
        return 77
    page = Page()
    try:
        check(page, path, reference, picture[0] if picture else None)
    finally:
        page.close()
    return 0


if __name__ == '__main__':
    sys.exit(main())
