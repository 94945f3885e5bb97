"use strict";
// Whether the server can be asked, the question, and the suggestions.

function showState(state, text) {
  if ($("state").dataset.state === state && $("state-text").textContent === text) return;
  $("state").dataset.state = state;
  $("state-text").textContent = text;
}

async function watch() {
  try {
    const said = await get("state");
    now.state = said.state;
    const texts = { loading: "Loading the models …", ready: "Ready", broken: said.message };
    showState(said.state, texts[said.state]);
    if (!now.museums.length) await begins(said);
    if (said.state === "loading") setTimeout(watch, 700);
  } catch (problem) {
    showState("broken", problem.message);
    setTimeout(watch, 3000);
  }
}

// --------------------------------------------------------------------------------------------------- questions

async function suggest() {
  const turn = ++now.fitting, shown = now.picture;
  const scene = shown && shown.objects ? { objects: shown.objects, seed: shown.seed } : null;
  const seed = scene ? scene.seed : now.seed;
  let offers = [];
  try {
    const sent = { museum: $("museum").value, scene, picture: Boolean(shown), seed };
    offers = (await (await post("suggestions", sent)).json()).questions;
  } catch { /* the page works without suggestions */ }
  if (turn !== now.fitting) return; // another picture was chosen meanwhile
  $("suggestions").replaceChildren(...[...grouped(offers)].map(([needs, questions]) => {
    const list = make("ul"), group = make("div");
    list.append(...questions.map((offer) => {
      const button = make("button", offer.question, { type: "button" }), item = make("li");
      button.addEventListener("click", () => {
        $("question").value = offer.question;
        ask(turn === now.fitting ? offer.answer : ""); // else it was about the picture before
      });
      item.append(button);
      return item;
    }));
    group.append(make("h3", `From ${needs}`), list);
    return group;
  }));
}

function grouped(offers) {
  const groups = new Map();
  for (const offer of offers) groups.set(offer.needs, [...(groups.get(offer.needs) || []), offer]);
  return groups;
}

function problem(field, message) {
  const where = $(`${field}-problem`);
  where.textContent = message;
  where.hidden = !message;
  if (field === "question") $("question").setAttribute("aria-invalid", String(Boolean(message)));
}

async function ask(expected = "") {
  if (now.asking) return;
  const question = $("question").value, shown = now.picture;
  problem("question", "");
  problem("picture", "");
  setAsking(true);
  try {
    const sent = { question, museum: $("museum").value, picture: shown && shown.picture, expected };
    const response = await post("ask", sent);
    begin(question);
    let ended = false;
    for await (const line of lines(response)) {
      if (line.event === "waiting") wait(line);
      if (line.event === "answer") showAnswer(line, shown);
      if (line.event === "error") showError(line, shown);
      ended ||= line.event !== "waiting";
    }
    if (!ended) throw new Problem("The server stopped before it had answered. Is it still running?");
  } catch (found) {
    const message = found instanceof Problem ? found.message : "The connection broke off. Is the server still running?";
    if (found.field === "question" || found.field === "picture") {
      problem(found.field, message);
      if (found.field === "question") $("question").focus();
    } else {
      begin(question);
      showError({ stage: "", message, stages: [] }, shown);
    }
  } finally {
    setAsking(false);
  }
}

function setAsking(asking) {
  now.asking = asking;
  $("ask").textContent = asking ? "Asking …" : "Ask";
  $("ask").setAttribute("aria-disabled", String(asking));
}

// ------------------------------------------------------------------------------------------------------- begin

async function begins(said) {
  now.seed = random();
  Object.assign(now, { museums: said.museums, choices: said.choices, limits: said.limits });
  const options = said.museums.map((name) => make("option", name, { value: name }));
  if (said.museums.length > 1) options.push(make("option", `All ${said.museums.length} museums`, { value: "" }));
  $("museum").replaceChildren(...options);
  makeBrushes();
  makeGrid();
  await otherScenes(0);
}

document.querySelectorAll("input[name=way]").forEach((input) => input.addEventListener("change", showPicture));
$("museum").addEventListener("change", suggest);
$("others").addEventListener("click", () => otherScenes(random()).catch((found) => problem("picture", found.message)));
$("clear").addEventListener("click", () => { now.objects = []; redraw(); });
$("file").addEventListener("change", (event) => upload(event.target.files[0]));
$("show-attention").addEventListener("change", showVeil);
$("form").addEventListener("submit", (event) => { event.preventDefault(); ask(); });
$("question").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  ask();
});
watch();
