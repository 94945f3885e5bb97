"use strict";
// The picture: one of some scenes, a drawn one, or one from outside.

const way = () => document.querySelector("input[name=way]:checked").value;

function showPicture() {
  const from = way();
  for (const name of ["choose", "draw", "upload", "none"]) $(`way-${name}`).hidden = name !== from;
  $("grid").hidden = from !== "draw";
  now.picture = { choose: now.chosen, draw: now.drawn, upload: now.uploaded, none: null }[from];
  const shown = now.picture;
  $("picture").hidden = !shown;
  if (shown) $("picture").src = shown.picture;
  $("picture").alt = shown ? `The picture: ${shown.words}` : "";
  $("no-picture").hidden = Boolean(shown) || from === "draw";
  $("picture-words").textContent = shown ? sentence(shown.words) : "";
  problem("picture", "");
  suggest();
}

const sentence = (words) => words[0].toUpperCase() + words.slice(1) + (/[.?!…]$/.test(words) ? "" : ".");

async function otherScenes(seed) {
  now.scenes = (await get(`scenes/${seed}`)).scenes;
  $("scenes").replaceChildren(...now.scenes.map((scene, number) => {
    const label = make("label");
    const input = make("input", "", { type: "radio", name: "scene", value: number });
    input.checked = number === 0;
    input.addEventListener("change", () => { now.chosen = scene; showPicture(); });
    label.append(input, make("img", "", { src: scene.picture, alt: scene.words, width: 64, height: 64 }));
    return label;
  }));
  now.chosen = now.scenes[0];
  showPicture();
}

function makeBrushes() {
  for (const [name, values] of Object.entries(now.choices)) {
    $(name).replaceChildren(...values.map((value, number) => {
      const label = make("label"), input = make("input", "", { type: "radio", name: `brush-${name}`, value });
      input.checked = name === "size" ? value === "large" : number === (name === "shape" ? 3 : 0);
      const span = make("span");
      if (name === "shape") span.append(symbol(value));
      if (name === "colour") span.append(make("i", "", { class: `swatch ${value}`, "aria-hidden": "true" }));
      span.append(value);
      label.append(input, span);
      return label;
    }));
  }
}

const brush = (name) => document.querySelector(`input[name=brush-${name}]:checked`).value;
const at = (row, column) => now.objects.find((thing) => thing.row === row && thing.column === column);

function makeGrid() {
  for (let place = 0; place < SIDE * SIDE; place++) {
    const [row, column] = [Math.floor(place / SIDE), place % SIDE];
    const button = make("button", "", { type: "button", tabindex: place ? -1 : 0 });
    button.addEventListener("click", () => put(row, column));
    button.addEventListener("keydown", (event) => {
      const step = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] }[event.key];
      if (event.key === "Delete" || event.key === "Backspace") take(row, column);
      if (!step) return;
      event.preventDefault();
      moveTo(row + step[0], column + step[1]);
    });
    button.addEventListener("focus", () => roving(place));
    $("grid").append(button);
  }
  nameGrid();
}

function roving(place) {
  [...$("grid").children].forEach((button, number) => { button.tabIndex = number === place ? 0 : -1; });
}

function moveTo(row, column) {
  if (row < 0 || column < 0 || row >= SIDE || column >= SIDE) return;
  $("grid").children[row * SIDE + column].focus();
}

function nameGrid() {
  [...$("grid").children].forEach((button, place) => {
    const [row, column] = [Math.floor(place / SIDE), place % SIDE], thing = at(row, column);
    const what = thing ? `${thing.size} ${thing.colour} ${thing.shape}` : "empty";
    button.setAttribute("aria-label", `Row ${row + 1}, column ${column + 1}: ${what}`);
  });
}

function put(row, column) {
  const thing = { shape: brush("shape"), colour: brush("colour"), size: brush("size"), row, column };
  const there = at(row, column);
  const others = now.objects.filter((other) => other !== there);
  const same = there && ["shape", "colour", "size"].every((name) => there[name] === thing[name]);
  if (!there && others.length === MOST_OBJECTS) {
    return problem("picture", "Four objects are the most that a picture holds: take one away first.");
  }
  now.objects = same ? others : [...others, thing];
  redraw();
}

function take(row, column) {
  now.objects = now.objects.filter((thing) => thing !== at(row, column));
  redraw();
}

async function redraw() {
  nameGrid();
  const objects = now.objects;
  try {
    const drawn = objects.length ? await (await post("drawn", { objects, seed: now.seed })).json() : null;
    if (objects !== now.objects) return; // a later stroke came first
    now.drawn = drawn;
    if (way() === "draw") showPicture();
  } catch (found) {
    problem("picture", found.message);
  }
}

async function upload(file) {
  now.uploaded = null;
  showPicture();
  if (!file) return;
  if (file.size > now.limits.bytes) {
    const [most, size] = [now.limits.bytes / 1e6, (file.size / 1e6).toFixed(1)];
    return problem("picture", `A picture may have ${most} MB at most, this file has ${size} MB: choose a smaller one.`);
  }
  try {
    const type = file.type.startsWith("image/") ? file.type : "application/octet-stream";
    const response = await fetched("picture", { method: "POST", headers: { "Content-Type": type }, body: file });
    now.uploaded = await response.json();
    if (way() === "upload") showPicture();
  } catch (found) {
    problem("picture", found.message);
  }
}
