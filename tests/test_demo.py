"""The demo's page: asked in a browser as a person would, and its server with what no person would send."""

import asyncio
import http.client
import io
import json
import os
import re
import shutil
import subprocess
import sys
import threading
import time
import zlib
from contextlib import contextmanager
from types import SimpleNamespace
from urllib.parse import urlsplit

import numpy as np
import pytest
from PIL import Image

import fmnotes
from fmnotes.demo import __main__ as command
from fmnotes.demo import answers, gate, offers, pictures, server
from fmnotes.demo.desk import Desk
from fmnotes.museum import Object, Scene, questions, render
from fmnotes.museum.referents import REFERENT
from fmnotes.museum.world import dice_for

MUSEUMS = offers.museums(1)
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
HERE = "http://127.0.0.1"
QUIET = (
    "--no-sandbox --disable-gpu --disable-background-networking --disable-component-update --disable-sync --no-pings"
)
SCENE = Scene((Object("blue", "star", "large", 1, 2), Object("red", "circle", "large", 2, 0)), 7)

# ---------------------------------------------------------------------- what it is made of


def file(picture, form="PNG", **options):
    kept = io.BytesIO()
    Image.fromarray(picture).save(kept, form, **options)
    return kept.getvalue()


def test_a_picture_comes_back_as_it_was_drawn():
    (picture,) = render([SCENE])
    np.testing.assert_array_equal(pictures.unpacked(pictures.packed(picture)), picture)


@pytest.mark.parametrize("form", pictures.FORMATS)
@pytest.mark.parametrize("height, width", [(64, 64), (300, 500), (500, 300), (1, 900), (3, 2)])
def test_every_format_and_size_becomes_a_square(form, height, width):
    picture = pictures.read(file(np.full((height, width, 3), (200, 40, 40), np.uint8), form))
    assert picture.shape == (64, 64, 3) and picture.dtype == np.uint8
    assert abs(picture.astype(int) - (200, 40, 40)).max() <= 16  # GIF's and JPEG's colours are not exact


def test_a_picture_is_turned_upright_and_what_is_transparent_is_grey():
    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by 90° clockwise: its top is on the left of the file
    lying = np.zeros((64, 64, 3), np.uint8)
    lying[:, :32] = 255
    upright = pictures.read(file(lying, exif=turned))
    assert upright[:20].min() > 200 and upright[-20:].max() < 50
    assert (pictures.read(file(np.zeros((64, 64, 4), np.uint8))) == 128).all()


def bomb(width=30_000, height=30_000):
    """A PNG of a few bytes that says it has so many pixels."""

    def chunk(kind, held):
        return len(held).to_bytes(4) + kind + held + zlib.crc32(kind + held).to_bytes(4)

    head = width.to_bytes(4) + height.to_bytes(4) + bytes([8, 2, 0, 0, 0])
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize(
    "sent, message",
    [
        (b"", "file is empty"),
        (b"no picture at all", "no picture that can be read here"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "no picture that can be read here"),
        (bomb(), "40 million pixels at most, this one claims many more"),
        (bomb(8_000, 8_000), "40 million pixels at most, this one has 8,000 × 8,000"),
        (bomb(64, 64), "broken"),
        (file(np.zeros((64, 64, 3), np.uint8))[:60], "broken"),
        (bytes(pictures.MOST_BYTES + 1), "5 MB at most, this file has 5.0 MB"),
    ],
)
def test_a_bad_picture_gets_a_message(sent, message):
    with pytest.raises(pictures.PictureError, match=message):
        pictures.read(sent)


def test_the_same_seed_offers_the_same_scenes():
    scenes = offers.some_scenes(3)
    assert scenes == offers.some_scenes(3) != offers.some_scenes(4)
    assert len(scenes) == offers.SCENES and "row" in scenes[0]["words"]


@pytest.mark.parametrize("seed", range(12))
def test_suggestions_fit_the_picture_and_bring_their_answers(seed):
    (row,) = offers.some_scenes(seed, 1)
    scene = offers.drawn(row)
    fitting = offers.suggestions(MUSEUMS, MUSEUMS[0].name, scene, True, seed)
    assert {offer["needs"] for offer in fitting} <= {offers.BOTH, offers.SIGHT, offers.PAGES}
    for offer in fitting:
        if offer["needs"] == offers.SIGHT:
            assert questions.answer(offer["question"], scene) == offer["answer"]
        if offer["needs"] == offers.BOTH:
            words = re.search(REFERENT, offer["question"]).group()
            record = MUSEUMS[0].record("exhibit", " ".join(questions.resolve(words, scene).pair))
            assert offer["answer"] in (*record.values(), f"{record['series']}-{record['number']}")


def test_without_one_museum_a_suggestion_names_its_own():
    fitting = offers.suggestions(MUSEUMS, "", SCENE, True)
    asked = [offer["question"] for offer in fitting if offer["needs"] != offers.SIGHT]
    assert asked and all(MUSEUMS[0].name in question for question in asked)


def test_without_a_picture_only_pages_are_asked():
    fitting = offers.suggestions(MUSEUMS, MUSEUMS[0].name, None, False)
    assert {offer["needs"] for offer in fitting} == {offers.PAGES}


class Told(SimpleNamespace):
    """What `answers` needs of a trace."""

    cited, unknown = "m/1", False


PAGE = SimpleNamespace(
    page_content="The Museum: the red star\nIt rains. The red star was made by Ab Cd. It is <b>old</b>.",
    metadata={"title": "The Museum: the red star"},
)
STORE = SimpleNamespace(pages={"m/1": PAGE})


def test_the_cited_sentence_is_marked():
    found = answers.citation(Told(text="The red star was made by Ab Cd. [1]"), STORE)
    assert found["exact"] and found["marked"] == "The red star was made by Ab Cd." and found["number"] == 1
    assert found["before"] + found["marked"] + found["after"] == PAGE.page_content.partition("\n")[2]


@pytest.mark.parametrize("said", ["The red star was made by Xy Zz.", "The red star was made by Ab", "It"])
def test_what_the_page_does_not_say_is_not_marked(said):
    found = answers.citation(Told(text=f"{said} [1]"), STORE)
    assert not found["exact"] and not found["marked"] and found["before"]


def test_the_page_and_its_files_name_no_other_host():
    for name, _ in server.FILES.values():
        text = server._file(name).read_text("utf-8")
        others = set(re.findall(r"(?:https?:|wss?:)?//[\w.]+\.\w+[^\s\"']*", text)) - {"http://www.w3.org/2000/svg"}
        assert not others, f"{name} names {others}"
        assert "innerHTML" not in text and "insertAdjacentHTML" not in text
        assert not re.search(r"\s(?:style|on\w+)=", text), f"{name} holds inline style or script: the header forbids it"


PAIRS = (
    "ink paper 7|soft paper 4.5|soft card 4.5|ink card 7|accent paper 4.5|on-accent accent 4.5|ink tint 7|ink mark 4.5"
)
PAIRS += "|wrong paper 4.5|wrong wrong-tint 4.5|ink wrong-tint 7|edge paper 3|edge card 3|accent card 3"


def brightness(colour):
    """Relative luminance (WCAG 2.2)."""
    levels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    return np.dot(
        (0.2126, 0.7152, 0.0722), [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in levels]
    )


@pytest.mark.parametrize("scheme", [0, 1], ids=["light", "dark"])
@pytest.mark.parametrize("pair", PAIRS.split("|"))
def test_colours_differ_enough_to_be_read(scheme, pair):
    above, below, least = pair.split()
    style = server._file("page.css").read_text("utf-8")
    colours = dict(re.findall(r"--([\w-]+): (#\w{6});", style.split(":root {")[1 + scheme]))
    low, high = sorted((brightness(colours[above]), brightness(colours[below])))
    assert (high + 0.05) / (low + 0.05) >= float(least)


def test_the_command_takes_no_host_and_refuses_a_taken_port(capsys):
    with pytest.raises(SystemExit):
        command.parser().parse_args(["--host", "0.0.0.0"])
    with pytest.raises(SystemExit):
        command.parser().parse_args(["--museums", "0"])
    with serving(lambda: None) as port:
        assert command.main(["--port", str(port), "--museums", "1", "--no-browser"]) == 1
    assert "try --port 0" in capsys.readouterr().err


# ---------------------------------------------------------------------- the server, without models


@contextmanager
def serving(load, **settings):
    """A server in a thread of this process; gives its port."""
    begun, loop = threading.Event(), asyncio.new_event_loop()
    kept = {}

    async def begin():
        kept["desk"] = Desk(load)
        kept["server"], kept["port"] = server.listen(kept["desk"], MUSEUMS, 0)
        begun.set()

    def run():
        asyncio.set_event_loop(loop)
        loop.run_until_complete(begin())
        loop.run_forever()

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    assert begun.wait(10)
    try:
        yield kept["port"]
    finally:
        loop.call_soon_threadsafe(kept["server"].stop)
        kept["desk"].close()
        loop.call_soon_threadsafe(loop.stop)
        thread.join(10)


def send(port, path, body=None, method=None, **headers):
    """The status, the headers and the body of an answer."""
    talk = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    if isinstance(body, dict):
        body, headers = json.dumps(body), {"Content-Type": "application/json"} | headers
    talk.request(method or ("GET" if body is None else "POST"), path, body, headers)
    answer = talk.getresponse()
    kept = answer.status, dict(answer.getheaders()), answer.read()
    talk.close()
    return kept


def lines(body):
    return [json.loads(line) for line in body.splitlines()]


@pytest.fixture(scope="module")
def bare():
    """A server whose models cannot be loaded: what it says to bad input does not depend on them."""

    def load():
        raise FileNotFoundError("no checkpoint is here")

    with serving(load) as port:
        yield port


def test_it_listens_on_loopback_only(bare):
    import socket

    with pytest.raises(OSError), socket.create_connection(("127.0.0.2", bare), timeout=2):
        pass  # another address of this computer; a server on all addresses would answer
    assert gate.HOST == "127.0.0.1"


@pytest.mark.parametrize(
    "path", ["/", "/page.css", "/page.js", "/tools.js", "/state", "/scenes/0", "/nothing", "/no.js"]
)
def test_headers_forbid_everything_else(bare, path):
    status, headers, _ = send(bare, path)
    assert status == (404 if "/no" in path else 200)
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; script-src 'self';")
    assert "require-trusted-types-for 'script'" in headers["Content-Security-Policy"]
    assert headers["X-Content-Type-Options"] == "nosniff" and "Server" not in headers
    assert "Access-Control-Allow-Origin" not in headers


@pytest.mark.parametrize(
    "headers",
    [{"Host": "evil.example"}, {"Host": "127.0.0.1"}, {"Origin": "http://evil.example"}, {"Origin": "null"}],
)
def test_a_foreign_page_is_refused(bare, headers):
    for path, body in (("/", None), ("/state", None), ("/ask", {"question": "Who?"}), ("/picture", b"x")):
        status, _, said = send(bare, path, body, **headers)
        assert status == 403 and "only" in json.loads(said)["message"].lower()


def test_its_own_page_is_not_refused(bare):
    for name in ("127.0.0.1", "localhost"):
        assert send(bare, "/state", Host=f"{name}:{bare}", Origin=f"http://{name}:{bare}")[0] == 200


@pytest.mark.parametrize(
    "path, body, status, message",
    [
        ("/ask", {"question": " \n "}, 400, "question is empty"),
        ("/ask", {}, 400, "question is empty"),
        ("/ask", {"question": "a" * 201}, 400, "201 characters, 200 are the most"),
        ("/ask", {"question": 5}, 400, "must be a text"),
        ("/ask", {"question": "Who?", "museum": "Louvre"}, 400, "no museum 'Louvre' here"),
        ("/ask", {"question": "Who?", "picture": "data:image/png;base64,xyz!"}, 400, "did not arrive whole"),
        ("/ask", {"question": "Who?", "picture": "data:image/png;base64,eHl6"}, 400, "no picture"),
        ("/ask", {"question": "Who?", "picture": "x" * 300_000}, 413, "200,000 are the most"),
        ("/drawn", {"objects": [], "seed": 0}, 400, "1 to 4 objects"),
        ("/drawn", {"objects": [{"colour": "pink"}], "seed": 0}, 400, "cannot be drawn"),
        ("/drawn", {"objects": 5, "seed": 0}, 400, "cannot be drawn"),
        ("/drawn", {**SCENE.to_row(), "seed": -1}, 400, "whole number below"),
        ("/suggestions", {"scene": "x"}, 400, "cannot be drawn"),
    ],
)
def test_bad_input_gets_a_message(bare, path, body, status, message):
    got, headers, said = send(bare, path, body)
    assert got == status and message in json.loads(said)["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"[" * 100_000])
def test_what_is_no_json_gets_a_message(bare, body):
    status, _, said = send(bare, "/ask", body, Content_Type="application/json")
    assert status == 400 and "JSON" in json.loads(said)["message"]


def test_what_a_form_of_a_foreign_page_could_send_is_refused(bare):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        assert send(bare, "/ask", b'{"question": "Who?"}', Content_Type=kind)[0] == 415
        assert send(bare, "/picture", b"x", Content_Type=kind)[0] == 415


def test_a_picture_is_given_back_as_the_model_sees_it(bare):
    status, _, said = send(bare, "/picture", file(render([SCENE])[0]), Content_Type="image/png")
    assert status == 200
    np.testing.assert_array_equal(pictures.unpacked(json.loads(said)["picture"]), render([SCENE])[0])


def test_20_megabytes_are_refused_and_not_kept(bare, monkeypatch):
    most = []
    taken = gate.Posted.data_received
    monkeypatch.setattr(
        gate.Posted, "data_received", lambda self, chunk: (taken(self, chunk), most.append(len(self.body)))[0]
    )
    status, _, said = send(bare, "/picture", bytes(20_000_000), Content_Type="image/png")
    assert status == 413 and "5 MB at most, this file has 20.0 MB" in json.loads(said)["message"]
    assert most and not max(most)  # its length was enough to know
    most.clear()
    parts = (bytes(1_000_000) for _ in range(20))  # sent without saying how much it will be
    status, _, said = send(bare, "/picture", parts, Content_Type="image/png")
    assert status == 413 and "20.0 MB" in json.loads(said)["message"]
    assert max(most) <= pictures.MOST_BYTES and most[-1] == 0


def test_it_says_why_the_models_could_not_be_loaded(bare):
    assert "no checkpoint is here" in json.loads(send(bare, "/state")[2])["message"]
    first, last = lines(send(bare, "/ask", {"question": "Who made the red star?"})[2])
    assert first["event"] == "waiting" and last["event"] == "error" and "no checkpoint is here" in last["message"]


def test_a_second_question_waits_its_turn_and_is_told_so(monkeypatch):
    order, going, go_on = [], threading.Event(), threading.Event()

    def slow(system, question, *_):
        going.set()
        assert go_on.wait(20)
        order.append(question)
        return {"event": "answer"}

    def ask(name):
        said[name] = lines(send(port, "/ask", {"question": name})[2])

    monkeypatch.setattr(server, "_answer", slow)
    said = {}
    with serving(lambda: None) as port:
        first = threading.Thread(target=ask, args=["first"])
        first.start()
        assert going.wait(10)
        gone = http.client.HTTPConnection("127.0.0.1", port)  # this one asks, and leaves before its turn
        gone.request("POST", "/ask", json.dumps({"question": "gone"}), {"Content-Type": "application/json"})
        assert gone.getresponse().readline()
        gone.sock and gone.sock.close()
        gone.close()
        second = threading.Thread(target=ask, args=["second"])
        second.start()
        assert send(port, "/state")[0] == 200  # the page is served meanwhile
        threading.Timer(0.5, go_on.set).start()
        first.join(20), second.join(20)
    assert [line["event"] for line in said["first"]] == ["waiting", "answer"]
    assert said["first"][0]["ahead"] == 0 and said["second"][0]["ahead"] >= 1
    assert order == ["first", "second"]


def test_too_many_questions_are_refused(monkeypatch, bare):
    monkeypatch.setattr(server, "MOST_WAITING", 0)
    status, _, said = send(bare, "/ask", {"question": "Who?"})
    assert status == 503 and "try again" in json.loads(said)["message"]


# ---------------------------------------------------------------------- the whole, as a person would ask


@pytest.fixture(scope="module")
def running():
    """`python -m fmnotes.demo`, as `make demo` starts it; gives its port."""
    asked = [sys.executable, "-m", "fmnotes.demo", "--port", "0", "--museums", "1", "--no-browser"]
    root = os.path.dirname(os.path.dirname(fmnotes.__file__))
    process = subprocess.Popen(asked, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=root)
    try:
        said = process.stdout.readline()
        address = re.search(r"http://127\.0\.0\.1:(\d+)/", said)
        assert address, said + process.stderr.read()
        yield int(address[1])
    finally:
        process.terminate()
        _, said = process.communicate(timeout=20)
    assert "Traceback" not in said, said


@pytest.fixture(scope="module")
def browser(running):
    if not CHROMIUM:
        pytest.skip("no Chromium is installed here (looked for chromium, chromium-browser, google-chrome)")
    playwright = pytest.importorskip("playwright.sync_api", reason="playwright is not installed: pip install .[test]")
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=QUIET.split())
        yield opened
        opened.close()


@pytest.fixture
def page(browser, running):
    """The demo's page, ready to be asked. Whatever it does, it asks no other host and breaks no rule of its header."""
    tab = browser.new_page(viewport={"width": 1280, "height": 900})
    asked, wrong = [], []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("pageerror", lambda error: wrong.append(str(error)))
    tab.on("console", lambda line: wrong.append(line.text) if "Content Security Policy" in line.text else None)
    tab.goto(f"{HERE}:{running}/")
    tab.wait_for_selector("#state[data-state=ready]", timeout=120_000)
    tab.wait_for_selector("#suggestions button")
    yield tab
    tab.close()
    assert {urlsplit(url).netloc for url in asked if not url.startswith("data:")} == {f"127.0.0.1:{running}"}
    assert not wrong


def until(page, holds, seconds=30):
    """Waits until an expression holds. Playwright's own way is to `eval` in the page, which the header forbids."""
    end = time.monotonic() + seconds
    while not page.evaluate(holds):
        assert time.monotonic() < end, f"after {seconds} s this does not hold: {holds}"
        page.wait_for_timeout(20)


def answered(page):
    """Waits for the end of an answer; gives what stands there."""
    until(page, "!now.asking && document.querySelector('#result').checkVisibility()")
    return page.inner_text("#answer")


def is_dark(page):
    """How much of the attention's veil is dark, and how much is clear: least and most of its opacity."""
    return page.evaluate(
        """() => { const canvas = document.querySelector("#attention");
        const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
        const alphas = [...data].filter((_, place) => place % 4 === 3);
        return [Math.min(...alphas), Math.max(...alphas), canvas.width, canvas.height]; }"""
    )


def test_a_person_asks_by_keyboard_and_reads_the_answer_and_its_source(page):
    for _ in range(20):  # to the pictures, by the keyboard alone
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.name") == "scene":
            break
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    scene = page.evaluate("({objects: now.picture.objects, seed: now.picture.seed})")
    assert scene == {name: offers.some_scenes(0)[2][name] for name in ("objects", "seed")}
    until(page, "document.querySelectorAll('#suggestions button').length >= 4")
    words, meant = questions.referring_expression(Scene.from_row(scene), dice_for("demo", "test", 5))
    page.focus("#question")
    page.keyboard.type(f"Who made {words}?")
    page.keyboard.press("Enter")
    said = answered(page)
    maker = MUSEUMS[0].record("exhibit", " ".join(meant.pair))["maker"]
    assert maker in said, page.inner_text("#result")
    title = f"The {MUSEUMS[0].name}: the {' '.join(meant.pair)}"
    assert page.inner_text("#cited") == f"[1] {title}"
    assert page.inner_text("#page mark") == said and said in page.inner_text("#page-text")
    page.focus("#cited a")
    page.keyboard.press("Enter")
    assert page.evaluate("document.activeElement.id") == "page" and page.inner_text("#page-title") == title
    least, most, *size = is_dark(page)
    assert (least, size) == (0, [8, 8]) and most > 100 and page.is_visible("#attention")
    page.focus("#show-attention")
    page.keyboard.press("Space")
    assert page.evaluate("document.querySelector('#attention').style.opacity") == "0"
    stages = page.locator("#stages .stage-name").all_inner_texts()
    assert stages == [answers.NAMES[name] for name in ("route", "look", "search", "rank", "read")]
    assert all(re.search(r"\d m?s", text) for text in page.locator("#stages .time").all_inner_texts())
    assert "in all" in page.inner_text(".total") and said in page.inner_text("#live")


def test_a_suggestion_asks_at_once_and_is_checked(page):
    offer = page.locator("#suggestions button").nth(2)
    question = offer.inner_text()
    offer.click()
    said = answered(page)
    assert page.inner_text("#asked") == question == page.input_value("#question")
    scene = Scene.from_row(offers.some_scenes(0)[0])
    right = said == questions.answer(question, scene)
    assert page.inner_text("#verdict").startswith("✓" if right else "✗")


@pytest.mark.parametrize("width", [360, 1280])
def test_nothing_is_wider_than_the_screen(page, width):
    page.set_viewport_size({"width": width, "height": 740})
    page.locator("#suggestions button").first.click()
    answered(page)
    page.locator("summary").first.click()
    for name in ("draw", "upload", "none", "choose"):
        page.check(f"input[name=way][value={name}]", force=True)
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.fill("#question", "한" * 200)
    page.click("#ask")
    answered(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_a_scene_is_drawn_by_keyboard(page):
    page.check("input[name=way][value=draw]", force=True)
    for name, value in (("shape", "star"), ("colour", "blue"), ("size", "large")):
        page.check(f"input[name=brush-{name}][value={value}]", force=True)
    page.focus("#grid button")
    for key in ("ArrowDown", "ArrowRight", "Enter"):
        page.keyboard.press(key)
    until(page, "now.picture && now.picture.objects.length === 1")
    assert page.evaluate("document.activeElement.getAttribute('aria-label')") == "Row 2, column 2: large blue star"
    assert page.get_attribute("#picture", "alt") == "The picture: large blue star in row 2, column 2"
    page.fill("#question", "What colour is the star?")
    page.keyboard.press("Enter")
    assert answered(page) == "blue"
    page.focus("#grid button[tabindex='0']")
    page.keyboard.press("Delete")
    until(page, "now.picture === null")


@pytest.mark.parametrize(
    "question, message",
    [
        (
            "빨간 별은 누가 만들었나요?",
            "It stopped at “Route”\nNo word of '빨간 별은 누가 만들었나요?' is known here: ask in English",
        ),
        (
            "Who made the object left of the blue star?",
            "It stopped at “Look at the picture”\nThe question is about a picture",
        ),
    ],
)
def test_what_cannot_be_answered_says_which_stage_stopped(page, question, message):
    page.check("input[name=way][value=none]", force=True)
    page.fill("#question", question)
    page.click("#ask")
    answered(page)
    assert page.inner_text("#error").startswith(message)
    assert message.split("\n")[0] in page.inner_text("#live")
    assert not page.inner_text("#answer") and page.is_hidden("#page")


def test_an_empty_question_and_bad_files_get_a_message_where_they_are(page, tmp_path):
    page.fill("#question", "  ")
    page.keyboard.press("Enter")
    page.wait_for_selector("#question-problem:not([hidden])")
    assert "question is empty" in page.inner_text("#question-problem")
    assert page.get_attribute("#question", "aria-invalid") == "true"
    page.check("input[name=way][value=upload]", force=True)
    large = tmp_path / "large.png"
    large.touch()
    os.truncate(large, 20_000_000)
    (tmp_path / "text.png").write_text("text")
    (tmp_path / "bomb.png").write_bytes(bomb())
    (tmp_path / "good.png").write_bytes(file(render([SCENE])[0]))
    for name, message in (("text", "no picture that can be read"), ("large", "has 20.0 MB"), ("bomb", "pixels")):
        page.set_input_files("#file", tmp_path / f"{name}.png")
        until(page, f"document.querySelector('#picture-problem').textContent.includes({message!r})")
    page.set_input_files("#file", tmp_path / "good.png")
    until(page, "now.picture !== null")
    assert page.is_hidden("#picture-problem")
    page.fill("#question", "What shape is the blue object?")
    page.keyboard.press("Enter")
    assert answered(page) == "star"


def test_a_text_that_looks_like_html_stays_text(page):
    page.fill("#question", "Who made <img src=x onerror=alert(1)> the red star?")
    page.click("#ask")
    answered(page)
    assert "<img src=x" in page.inner_text("#asked") and not page.locator("#result img[src=x]").count()


def test_every_control_has_a_name(page):
    nameless = page.evaluate(
        """() => [...document.querySelectorAll("button, input, select, textarea, a, canvas, img")]
        .filter((e) => e.checkVisibility() && !e.labels?.length && !e.textContent.trim()
            && !e.getAttribute("aria-label") && !e.getAttribute("alt"))
        .map((e) => e.outerHTML.slice(0, 80))"""
    )
    assert not nameless
    for label in page.locator("#scenes label img").all():
        assert "in row" in label.get_attribute("alt")
