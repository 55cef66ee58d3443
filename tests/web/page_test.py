"""The page in a real browser: it finds what `QuestionAnswerer` finds, and asks nobody else."""

import contextlib
import functools
import importlib.util
import json
import random
import threading

import numpy as np
import pytest

from mobilebert_jax.export.checks import reference, sample_inputs
from mobilebert_jax.export.web.folder import export_web
from mobilebert_jax.export.web.runtime import runtime_place
from mobilebert_jax.export.web.server import WebServer
from mobilebert_jax.inference.question_answerer import QuestionAnswerer
from mobilebert_jax.models.config import preset
from mobilebert_jax.models.heads import build_model
from mobilebert_jax.models.pretrained import save_pretrained
from tests.models.model_cases import random_params
from tests.web.chromium import chromium, chromium_path
from tests.web.texts import some_text, tokenizer, units

MISSING = [
    name
    for name, there in {
        "Chromium (apt-get install chromium)": chromium_path() is not None,
        "the extra onnx (pip install '.[onnx]')": importlib.util.find_spec("jax2onnx") is not None,
        "onnxruntime-web (one `mobilebert export --format=web` brings it)": runtime_place().is_dir(),
    }.items()
    if not there
]
pytestmark = pytest.mark.skipif(bool(MISSING), reason=f"not here: {', '.join(MISSING)}")

THRESHOLD = 12.0
"""The slider's end, where all answers of a model that has learnt nothing are shown."""
QUESTION = "who sat?"
PASSAGE = some_text(random.Random(1), 60) + "the cat sat"


@functools.cache
def model():
    cfg = preset("test_student", vocab_size=tokenizer().vocab_size, max_position_embeddings=64)
    model = build_model(cfg, "qa")
    return model, random_params(model)


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A model folder, and the page of it."""
    folder = tmp_path_factory.mktemp("web")
    save_pretrained(folder / "model", *model(), tokenizer())
    report = export_web(folder / "model", folder / "page", precisions=("float32", "int8"))
    assert report["files"]["model/onnx/model.onnx"]["error"] < 1e-5
    return folder


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@contextlib.contextmanager
def served(folder):
    with WebServer(folder) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture
def page(browser, folders):
    """Opens the page, ready to be asked."""
    with served(folders / "page") as server:

        def opened(words="device=wasm", **window):
            browser.events.clear()
            browser.open(f"{server.url}?{words}", **window)
            browser.wait("!document.getElementById('submit').disabled")
            return browser

        opened.url = server.url
        yield opened


def ask(browser, question, passage, threshold=THRESHOLD):
    """Pastes, types and presses Enter; then every answer is there."""
    browser.evaluate("document.getElementById('passage').select()")
    browser.type(passage)
    browser.evaluate("document.getElementById('question').select()")
    browser.type(question)
    browser.press("Enter")
    browser.wait("!document.getElementById('results').hidden")
    slide(browser, threshold)


def slide(browser, threshold):
    browser.evaluate(
        f"document.getElementById('threshold').value = {threshold};"
        "document.getElementById('threshold').dispatchEvent(new Event('input'))"
    )


def active(browser):
    """The answer that is looked at, and where it begins."""
    return browser.evaluate(
        "(() => { const mark = document.querySelector('mark.active');"
        "const range = new Range(); range.setStart(document.getElementById('highlights'), 0); range.setEndBefore(mark);"
        "return [mark.textContent, range.toString().length]; })()"
    )


def assert_float32_logits(browser, device):
    """Within 1e-5 of the tensor's scale, in the browser too."""
    (inputs,) = sample_inputs(model()[0].cfg.vocab_size, [(1, 64)])
    given = json.dumps({name: row[0].tolist() for name, row in zip(("ids", "mask", "types"), inputs, strict=True)})
    found = browser.evaluate(
        "(async () => {"
        "const { openSession } = await import('/answers/session.js');"
        "const files = (await (await fetch('/model/answering.json')).json()).files;"
        "const folder = (name) => new URL(name, location.origin);"
        "const places = { model: folder('/model/'), runtime: folder('/runtime/') };"
        f"const options = {{ device: '{device}', precision: 'float32' }};"
        "const session = await openSession(places, files, options);"
        f"const {{ start, end }} = await session.predict({given});"
        "return { device: session.device, logits: [Array.from(start), Array.from(end)] }; })()"
    )
    assert found["device"] == device
    wanted = reference(*model())(*inputs)
    seen = inputs[1][0] > 0
    for own, name in zip(found["logits"], ("start_logits", "end_logits"), strict=True):
        logits = np.asarray(wanted[name])[0][seen]
        assert np.abs(np.array(own)[seen] - logits).max() <= 1e-5 * np.abs(logits).max()


def test_float32_logits_are_the_model_s(page):
    assert_float32_logits(page(), "wasm")


def test_float32_logits_on_webgpu_are_the_model_s(folders):
    """By a graphics processor that Chromium imitates."""
    imitated = ("--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader", "--enable-features=Vulkan")
    with chromium(*imitated) as browser, served(folders / "page") as server:
        browser.open(server.url)
        if not browser.evaluate("navigator.gpu?.requestAdapter().then((adapter) => adapter !== null) ?? false"):
            pytest.skip("this Chromium has no software WebGPU")
        assert_float32_logits(browser, "webgpu")
        # It is slower than the processor by itself; so nobody gets it who has not asked for it.
        browser.wait("document.getElementById('device').textContent.includes('WebAssembly')")


def answerer(folders, precision):
    """In float32 JAX's own, in 8 bits that of onnxruntime on the same file."""
    if precision == "float32":
        return QuestionAnswerer.from_pretrained(folders / "model", threshold=THRESHOLD)
    from mobilebert_jax.export.onnx import Runner

    run = Runner(str(folders / "page" / "model" / "onnx" / "model_quantized.onnx"))

    def predict(batch):
        out = run(*(batch[name] for name in ("input_ids", "attention_mask", "token_type_ids")))
        return out["start_logits"], out["end_logits"]

    shape = {"sequence_length": 64, **QuestionAnswerer.usual_shape(64), "batch_size": 1}
    return QuestionAnswerer(predict, tokenizer(), **shape, threshold=THRESHOLD)


@pytest.mark.parametrize("precision", ["float32", "int8"])
def test_the_highlighted_answer_is_the_answerer_s(page, folders, precision):
    browser = page(f"device=wasm&precision={precision}")
    passage = PASSAGE.replace("\r\n", "\n").replace("\ud800", "")  # as a text field holds it
    ask(browser, QUESTION, passage)
    best = answerer(folders, precision).find_answers(QUESTION, passage)[0]
    assert active(browser) == [best.text, units(passage, best.start)]
    assert browser.evaluate("document.getElementById('highlights').textContent") == passage
    assert f"score {best.score:.1f}" in browser.evaluate("document.querySelector('#answers li').innerText")


def test_what_is_pasted_is_text(page):
    browser = page()
    passage = "the cat <img src=x onerror='document.title=1'> sat <script>document.title=2</script> &amp; ran <b>on</b>"
    ask(browser, "<img src=x onerror='document.title=3'>", passage)
    assert browser.evaluate("document.getElementById('highlights').textContent") == passage
    assert browser.evaluate("document.querySelectorAll('img, main script, b').length") == 0
    assert browser.evaluate("document.title") == "Find in text by asking"


def test_nothing_is_asked_of_others(page, folders):
    """Workers included; and the page's own rule would not let it."""
    browser = page()
    ask(browser, QUESTION, PASSAGE)
    asked = browser.requests()
    assert all(address.startswith(page.url) for address in asked)
    names = [address.removeprefix(page.url) for address in asked]
    assert {"model/onnx/model_quantized.onnx", "runtime/ort-wasm-simd-threaded.wasm"} <= set(names)
    with served(folders) as other:  # another port is another origin
        refused = browser.evaluate(f"fetch('{other.url}').then(() => false, () => true)")
    assert refused


def test_a_long_passage_shows_progress_and_the_page_stays_awake(page, folders):
    browser = page()
    passage = " ".join(["the cat sat on mats and the zebra sat"] * 700)[:20_000]
    browser.evaluate(
        "window.seen = new Set(); window.ticks = []; window.began = performance.now();"
        "setInterval(() => ticks.push(performance.now()), 10);"
        "new MutationObserver(() => seen.add(document.getElementById('status').textContent))"
        ".observe(document.getElementById('status'), { childList: true })"
    )
    ask(browser, QUESTION, passage)
    said = browser.evaluate("[...seen].filter((text) => /^Reading the text, \\d+ of \\d+/.test(text)).length")
    gaps = browser.evaluate("ticks.map((tick, index) => tick - (ticks[index - 1] ?? began))")
    took = browser.evaluate("document.getElementById('facts').textContent")
    assert said > 20, took
    assert max(gaps) < sum(gaps) / 2 and len(gaps) > 10
    best = answerer(folders, "int8").find_answers(QUESTION, passage)[0]
    assert active(browser) == [best.text, best.start]


def test_the_keyboard_goes_through_the_answers(page):
    browser = page()
    ask(browser, QUESTION, PASSAGE)
    count = "document.getElementById('count').textContent"
    total = browser.evaluate("document.querySelectorAll('mark').length")
    assert total > 1 and browser.evaluate(count) == f"1 of {total}"
    browser.press("Enter")
    assert browser.evaluate(count) == f"2 of {total}"
    assert browser.evaluate("document.getElementById('spoken').textContent") == active(browser)[0]
    browser.press("Enter", shift=True)
    assert browser.evaluate(count) == f"1 of {total}"
    browser.evaluate("document.getElementById('next').focus()")
    for key, number in (("n", 2), ("p", 1), ("p", total)):
        browser.press(key)
        assert browser.evaluate(count) == f"{number} of {total}"
    browser.press("/")
    assert browser.evaluate("document.activeElement.id") == "question"


def test_the_slider_decides_between_answers_and_none(page):
    browser = page()
    ask(browser, QUESTION, PASSAGE, threshold=-12)
    assert browser.evaluate("document.querySelectorAll('mark').length") == 0
    assert browser.evaluate("document.getElementById('status').textContent") == "The text does not seem to say."
    slide(browser, THRESHOLD)
    assert browser.evaluate("document.querySelectorAll('mark.active').length") == 1


def test_it_fits_a_phone(page):
    browser = page(width=360, height=700, dark=True)
    ask(browser, QUESTION, PASSAGE + "a" * 200)
    assert browser.evaluate("document.documentElement.scrollWidth") <= 360
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(20, 21, 23)"
    highlights, passage = (
        f"document.getElementById('{name}').getBoundingClientRect()" for name in ("highlights", "passage")
    )
    assert browser.evaluate(f"{highlights}.height === {passage}.height")


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("{ model: 'nowhere' }", ".json could not be loaded (404 File not found)."),
        ("{ precision: 'float16' }", "This page does not have the model in float16."),
    ],
)
def test_what_cannot_be_loaded_is_said(page, options, said):
    browser = page()
    load = f"import('/answers/mobilebert.js').then(({{ load }}) => load({options}))"
    assert browser.evaluate(f"{load}.then(() => '', (error) => error.message)").endswith(said)


def test_two_calls_are_enough(page):
    """The JavaScript interface, with what can go wrong."""
    browser = page()
    browser.evaluate(
        "import('/answers/mobilebert.js').then(({ load }) => load({ device: 'webgpu', threads: 2 }))"
        ".then((answerer) => (window.answerer = answerer), console.log)"
    )
    browser.wait("window.answerer !== undefined")
    assert browser.evaluate("[answerer.device, answerer.precision, answerer.threads]") == ["wasm", "int8", 2]
    assert browser.evaluate("answerer.note") == (
        "This browser offers no graphics processor to the page. The processor does the work instead."
    )
    passage = "the cat sat on mats"
    found = browser.evaluate(f"answerer.findAnswers('who?', {passage!r}, {{ topK: 2, threshold: 99 }})")
    assert len(found["answers"]) == 2 and found["windows"] == 1
    assert all(passage[answer["start"] : answer["end"]] == answer["text"] for answer in found["answers"])
    empty = "answerer.findAnswers(' ', 'the cat').then(() => '', (error) => error.message)"
    assert browser.evaluate(empty) == "The question is empty: ask something about the passage."
    stopped = (
        "(() => { const stop = new AbortController();"
        "const found = answerer.findAnswers('who?', 'the cat sat '.repeat(2000), { signal: stop.signal,"
        "onProgress: () => stop.abort() }); return found.then(() => '', (error) => error.name); })()"
    )
    assert browser.evaluate(stopped) == "AbortError"
