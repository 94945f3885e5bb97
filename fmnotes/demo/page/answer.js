"use strict";
// The answer: what it says, where that stands, where the picture was looked at, and what each stage found.

function begin(question) {
  for (const id of ["answer", "cited", "verdict", "asked", "live"]) $(id).replaceChildren();
  $("error").replaceChildren();
  $("stages").replaceChildren();
  for (const id of ["page", "looked", "stages-part"]) $(id).hidden = true;
  $("asked").textContent = question.trim();
  $("result").hidden = false;
}

function wait(line) {
  const many = line.ahead === 1 ? "One question came" : `${line.ahead} questions came`;
  const text = line.state === "loading" ? "The models are still loading; your question waits for them …"
    : line.ahead ? `${many} before yours, one is answered at a time …` : "Looking, searching, reading …";
  $("answer").className = "answer waits";
  $("answer").textContent = text;
  $("live").textContent = text;
  come($("result"));
}

function come(element) {
  const calm = matchMedia("(prefers-reduced-motion: reduce)").matches;
  element.scrollIntoView({ behavior: calm ? "auto" : "smooth", block: "start" });
}

function showAnswer(told, shown) {
  $("answer").className = "answer";
  $("answer").textContent = told.unknown ? "The pages do not say." : told.answer;
  const cited = told.citation;
  if (cited) {
    const link = make("a", cited.title, { href: "#page" });
    link.addEventListener("click", (event) => { event.preventDefault(); come($("page")); $("page").focus(); });
    $("cited").append(`[${cited.number}] `, link);
    showPage(cited);
  } else if (told.sight) {
    $("cited").textContent = "Seen in the picture; no page was needed.";
  } else {
    $("cited").textContent = told.unknown ? "The model wrote “unknown”, its word for that."
      : "It names no page, so nothing supports this answer.";
  }
  if (told.right !== null) {
    $("verdict").className = told.right ? "verdict" : "verdict wrong";
    $("verdict").textContent = told.right
      ? "✓ Checked against the museum’s records: right."
      : `✗ Checked against the museum’s records: wrong. They say: ${told.expected}.`;
  }
  $("live").textContent = ["answer", "cited", "verdict"].map((id) => $(id).textContent).join(" ");
  showLooked(told.attention, shown);
  showStages(told.stages);
}

function showError(told, shown) {
  $("answer").replaceChildren();
  const head = told.stage ? `It stopped at “${told.stage}”` : "That did not work";
  $("error").replaceChildren(make("strong", head), make("span", sentence(told.message)));
  $("live").textContent = `${head}. ${told.message}`;
  showLooked(told.attention, shown);
  showStages(told.stages);
  come($("result"));
}

function showPage(cited) {
  $("page-title").textContent = cited.title;
  $("page-text").replaceChildren(cited.before);
  if (cited.exact) $("page-text").append(make("mark", cited.marked), cited.after);
  $("page-note").textContent = cited.exact ? "" : "The answer does not stand on this page word for word: compare them.";
  $("page").hidden = false;
}

function showLooked(attention, shown) {
  if (!attention || !shown) return;
  $("looked-picture").src = shown.picture;
  const canvas = $("attention"), rows = attention.map.length, columns = attention.map[0].length;
  [canvas.width, canvas.height] = [columns, rows];
  const veil = new ImageData(columns, rows);
  attention.map.flat().forEach((weight, place) => veil.data.set([10, 14, 20, Math.round(190 * (1 - weight))], 4 * place));
  canvas.getContext("2d").putImageData(veil, 0, 0);
  canvas.setAttribute("aria-label", `Where the model looked: ${attention.where}`);
  $("looked-words").textContent =
    `Where it looked when it said “${attention.said}” to “${attention.question}”: the brighter, the more.`;
  $("looked").hidden = false;
  showVeil();
}

function showVeil() {
  $("attention").style.opacity = $("show-attention").checked ? 1 : 0;
}

function showStages(stages) {
  if (!stages.length || (stages.length === 1 && stages[0].failed)) return; // the message says it all
  const most = Math.max(50, ...stages.map((stage) => stage.ms)), total = stages.reduce((sum, stage) => sum + stage.ms, 0);
  $("stages").replaceChildren(...stages.map((stage) => showStage(stage, most)));
  document.querySelector(".total")?.remove();
  $("stages").after(make("p", `${milliseconds(total)} in all.`, { class: "total" }));
  $("stages-part").hidden = false;
}

const milliseconds = (ms) => (ms < 1 ? "under 1 ms" : ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(2)} s`);

function showStage(stage, most) {
  const item = make("li"), head = make("div"), time = make("div", "", { class: "time" }), body = make("div");
  const track = make("div", "", { class: "track", "aria-hidden": "true" }), bar = make("div", "", { class: "bar" });
  bar.style.width = `${(100 * stage.ms) / most}%`;
  track.append(bar);
  time.append(track, make("span", milliseconds(stage.ms)));
  head.append(make("div", stage.name, { class: "stage-name" }), time);
  const list = make("dl");
  for (const [term, value] of stage.found) {
    list.append(make("dt", term), make("dd", value, term === "Stopped" ? { class: "stopped" } : {}));
  }
  body.append(list);
  if (stage.pages.length) {
    const details = make("details"), pages = make("ol");
    pages.append(...stage.pages.map((title) => make("li", title)));
    details.append(make("summary", `All ${stage.pages.length} pages in this order`), pages);
    body.append(details);
  }
  item.append(head, body);
  if (stage.failed) item.className = "failed";
  return item;
}
