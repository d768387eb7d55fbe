// The browser of samples. Texts from models and benchmarks are only ever set as textContent.
"use strict";
(() => {
  const data = JSON.parse(document.getElementById("data").textContent);
  const $ = id => document.getElementById(id);
  const make = (tag, css, text) => {
    const node = document.createElement(tag);
    if (css) node.className = css;
    if (text !== undefined) node.textContent = text;
    return node;
  };
  if (!data.length) { $("count").textContent = "There are no samples."; return; }

  const state = { task: 0, show: "all", method: "", text: "", doc: 0 };
  let shown = [];   // indices of the documents that pass the filters

  // -- filters
  const score = (doc, m) => doc.outputs[m] ? doc.outputs[m].score : null;
  const right = (doc, m) => score(doc, m) === 1;
  const wrong = (doc, m) => score(doc, m) === 0;
  const isMember = label => label === "draft" || label.split(":")[0] === "assistant";

  function passes(task, doc) {
    const m = task.methods.indexOf(state.method);
    const all = task.methods.map((_, i) => i).filter(i => score(doc, i) !== null);
    const others = all.filter(i => i !== m);
    const members = all.filter(i => isMember(task.methods[i]));
    const tests = {
      all: () => true,
      right: () => right(doc, m),
      wrong: () => wrong(doc, m),
      "only-right": () => right(doc, m) && others.length > 0 && others.every(i => wrong(doc, i)),
      "only-wrong": () => wrong(doc, m) && others.length > 0 && others.every(i => right(doc, i)),
      beats: () => right(doc, m) && members.length > 0 && members.every(i => wrong(doc, i)),
      loses: () => wrong(doc, m) && members.some(i => right(doc, i)),
      differ: () => new Set(all.map(i => score(doc, i))).size > 1,
    };
    return tests[state.show]() && (!state.text || haystack(doc).includes(state.text.toLowerCase()));
  }

  function haystack(doc) {
    if (!doc.hay) {
      const outputs = doc.outputs.filter(Boolean).map(o => o.text ? o.text.join("") : o.choices.map(c => c[0]).join(" "));
      Object.defineProperty(doc, "hay", { value: [doc.prompt, doc.target, ...outputs].join("\n").toLowerCase() });
    }
    return doc.hay;
  }

  // -- the address holds the state, so that a view can be kept and sent
  function readHash() {
    const words = new URLSearchParams(location.hash.slice(1));
    if (!words.has("task")) return;
    const task = data.findIndex(t => `${t.pair}/${t.task}` === words.get("task"));
    if (task >= 0) state.task = task;
    state.show = [...$("f-show").options].some(o => o.value === words.get("show")) ? words.get("show") : "all";
    state.method = words.get("method") || state.method;
    state.text = words.get("text") || "";
    state.doc = parseInt(words.get("doc"), 10) || 0;
  }

  function writeHash() {
    const task = data[state.task];
    const words = new URLSearchParams({ task: `${task.pair}/${task.task}`, show: state.show, method: state.method, doc: state.doc });
    if (state.text) words.set("text", state.text);
    history.replaceState(null, "", "#" + words);
  }

  // -- list
  const sign = value => value === 1 ? "✓" : value === 0 ? "✗" : value === null ? "–" : "◐";
  const signCss = value => value === 1 ? "ok" : value === 0 ? "no" : "part";

  function refresh(keepHash) {
    const task = data[state.task];
    if (!task.methods.includes(state.method)) state.method = task.methods[task.methods.length - 1];
    $("f-task").value = state.task;
    $("f-show").value = state.show;
    $("f-text").value = state.text;
    $("f-method").replaceChildren(...task.methods.map(m => Object.assign(make("option", "", m), { value: m })));
    $("f-method").value = state.method;
    $("l-method").hidden = state.show === "all" || state.show === "differ";
    shown = task.documents.map((_, i) => i).filter(i => passes(task, task.documents[i]));
    if (!shown.includes(state.doc)) state.doc = shown.length ? shown[0] : 0;
    const part = task.total > task.documents.length ? ` (${task.documents.length} of the task's ${task.total} are kept here, evenly spaced)` : "";
    $("count").textContent = `${shown.length} of ${task.documents.length} documents${part}. ✓ right, ✗ wrong, ◐ in part, in the order: ${task.methods.join(", ")}.`;
    $("list").replaceChildren(...shown.map(i => entry(task, i)));
    select(state.doc, keepHash);
  }

  function entry(task, i) {
    const doc = task.documents[i];
    const node = make("div", "entry");
    node.id = "entry-" + i;
    node.setAttribute("role", "option");
    node.dataset.doc = i;
    node.append(doc.subtask === task.task ? `document ${doc.id}` : `${doc.subtask} ${doc.id}`);
    const marks = make("span", "marks");
    task.methods.forEach((m, k) => {
      const mark = make("span", signCss(score(doc, k)), sign(score(doc, k)));
      mark.title = m;
      marks.append(mark);
    });
    node.append(marks);
    return node;
  }

  function select(i, keepHash) {
    state.doc = i;
    for (const node of $("list").children) node.setAttribute("aria-selected", String(Number(node.dataset.doc) === i));
    const current = $("entry-" + i);
    if (current) {
      const list = $("list");
      $("list").setAttribute("aria-activedescendant", current.id);
      if (current.offsetTop < list.scrollTop) list.scrollTop = current.offsetTop;
      if (current.offsetTop + current.offsetHeight > list.scrollTop + list.clientHeight) list.scrollTop = current.offsetTop + current.offsetHeight - list.clientHeight;
    }
    hideTip();
    $("document").replaceChildren(...(shown.length ? render(data[state.task], data[state.task].documents[i]) : [make("p", "small", "No document passes these filters.")]));
    if (!keepHash) writeHash();
  }

  function step(by) {
    const at = shown.indexOf(state.doc) + by;
    if (at >= 0 && at < shown.length) select(shown[at]);
  }

  // -- one document
  function render(task, doc) {
    const ask = make("div", "ask");
    const shared = task.shared[doc.subtask];
    if (shared) {
      const fold = make("details");
      fold.append(make("summary", "small", `Few-shot examples before it (${shared.length} characters, the same for all)`), scrolled("prompt", shared));
      ask.append(fold);
    }
    ask.append(make("div", "small", "Prompt"), scrolled("prompt", doc.prompt), make("div", "small", "Gold"), make("div", "prompt", doc.target));
    const answers = task.methods.map((m, k) => doc.outputs[k] ? answer(task, m, doc.outputs[k]) : null).filter(Boolean);
    return [make("h3", "", `${task.pair} · ${doc.subtask} · document ${doc.id}`), ask, ...answers];
  }

  function scrolled(css, text) {
    const node = make("div", css, text);
    node.tabIndex = 0;
    return node;
  }

  function answer(task, method, output) {
    const box = make("section", "answer");
    const head = make("h4", "", method);
    const words = output.score === 1 ? "right" : output.score === 0 ? "wrong" : output.score === null ? "not scored" : `score ${output.score}`;
    head.append(make("span", signCss(output.score), `${sign(output.score)} ${words}`));
    if (output.text) {
      const ends = { length: "cut off at the limit", context: "cut off: the context is full", stop: "ended by a stop string", end: "ended by itself" };
      head.append(make("span", "small", `${many(output.output_tokens, "token")}, ${output.replaced} replaced; ${many(output.rounds, "round")}, ${many(output.assistant_calls, "assistant call")}; ${ends[output.finish] || output.finish}`));
      box.append(head, tokens(task, method, output));
    } else {
      box.append(head, choices(task, output));
    }
    return box;
  }

  function tokens(task, method, output) {
    const box = make("div", "out");
    box.tabIndex = 0;
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", `Output of ${method}. Arrow keys step through its tokens.`);
    output.text.forEach((piece, i) => {
      const author = output.author[i];
      if (i in output.turned) box.append(make("del", "turned", visible(output.turned[i])));
      const node = make("span", `token ${author < 0 ? "mixture" : "author" + author}${i >= output.kept ? " after" : ""}`, piece);
      node.tip = () => describe(task, output, i);
      box.append(node);
      const next = i + 1 < output.text.length ? output.author[i + 1] : null;
      if (author === 0 || (next === author && !(i + 1 in output.turned))) return;
      const sign = make("span", "sign", author < 0 ? "~" : String(author));
      const ends = piece.match(/\n+$/);   // the sign stands on the line of its token
      if (!ends) { box.append(sign); return; }
      node.textContent = piece.slice(0, -ends[0].length);
      node.append(sign, ends[0]);
    });
    if (!output.text.length) box.append(make("span", "small", "(nothing)"));
    return box;
  }

  const visible = text => text.replace(/\n/g, "↵").replace(/\t/g, "⇥");
  const many = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
  const quoted = text => `“${visible(text)}”`;
  const name = (task, m) => m === 0 ? `draft ${task.members[0]}` : `assistant ${m} ${task.members[m]}`;

  function describe(task, output, i) {
    const author = output.author[i];
    const lines = [`Token ${i + 1} of ${output.text.length}, ${quoted(output.text[i])}, by ${author < 0 ? "the mixture" : name(task, author)}`];
    output.p[i].forEach((p, m) => {
      const first = output.view[i] ? output.view[i][m] : output.text[i];
      lines.push(p === null || first === null ? `${name(task, m)}: not asked` : `${name(task, m)}: ${quoted(first)} ${p.toFixed(3)}`);
    });
    if (i >= output.kept) lines.push("After the stop string: not part of the answer.");
    return lines.join("\n");
  }

  function choices(task, output) {
    const table = make("table", "choices");
    const head = table.createTHead().insertRow();
    const best = Math.max(...output.choices.map(c => c[1]));
    const members = output.choices.length && output.choices[0][2].length ? task.members : [];
    for (const text of ["continuation", "log-likelihood", ...members.map((_, m) => m === 0 ? "draft's own" : `assistant ${m}'s own`)]) {
      const cell = make("th", text === "continuation" ? "" : "num", text);
      cell.scope = "col";
      head.append(cell);
    }
    const body = table.createTBody();
    for (const [text, value, own] of output.choices) {
      const row = body.insertRow();
      if (value === best) row.className = "chosen";
      row.append(make("td", "long", (value === best ? "▸ " : "") + text), make("td", "num", value.toFixed(3)), ...own.map(v => make("td", "num", v.toFixed(3))));
    }
    const scroll = make("div", "scroll");
    scroll.append(table);
    return scroll;
  }

  // -- probabilities, on pointing and by keyboard
  function showTip(node) {
    const tip = $("tip");
    document.querySelectorAll(".token.now").forEach(n => n.classList.remove("now"));
    node.classList.add("now");
    tip.textContent = node.tip();
    tip.hidden = false;
    const at = node.getBoundingClientRect();
    tip.style.left = Math.max(8, Math.min(at.left, innerWidth - tip.offsetWidth - 8)) + "px";
    tip.style.top = (at.bottom + tip.offsetHeight + 12 < innerHeight ? at.bottom + 8 : at.top - tip.offsetHeight - 8) + "px";
  }

  function hideTip() {
    $("tip").hidden = true;
    document.querySelectorAll(".token.now").forEach(n => n.classList.remove("now"));
  }

  function stepToken(box, by) {
    const all = [...box.querySelectorAll(".token")];
    const at = all.findIndex(n => n.classList.contains("now"));
    const next = all[at < 0 ? (by > 0 ? 0 : all.length - 1) : Math.max(0, Math.min(all.length - 1, at + by))];
    if (!next) return;
    next.scrollIntoView({ block: "nearest" });
    showTip(next);
  }

  $("document").addEventListener("mouseover", e => { const node = e.target.closest(".token"); if (node) showTip(node); else hideTip(); });
  $("document").addEventListener("mouseleave", hideTip);
  $("document").addEventListener("click", e => { const node = e.target.closest(".token"); if (node) showTip(node); });
  $("document").addEventListener("focusout", hideTip);
  $("document").addEventListener("keydown", e => {
    const box = e.target.closest(".out");
    if (e.key === "Escape") hideTip();
    if (!box || e.ctrlKey || e.metaKey || e.altKey) return;
    const by = { ArrowRight: 1, ArrowLeft: -1 }[e.key];
    if (by) { stepToken(box, by); e.preventDefault(); }
  });
  addEventListener("scroll", () => { if (!document.activeElement.classList.contains("out")) hideTip(); }, { passive: true });

  // -- events
  $("f-task").replaceChildren(...data.map((t, i) => Object.assign(make("option", "", `${t.pair} · ${t.task}`), { value: i })));
  $("f-task").addEventListener("change", e => { state.task = Number(e.target.value); state.doc = 0; refresh(); });
  $("f-show").addEventListener("change", e => { state.show = e.target.value; refresh(); });
  $("f-method").addEventListener("change", e => { state.method = e.target.value; refresh(); });
  $("f-text").addEventListener("input", e => { state.text = e.target.value; refresh(); });
  $("filters").addEventListener("submit", e => e.preventDefault());
  $("list").addEventListener("click", e => { const node = e.target.closest(".entry"); if (node) select(Number(node.dataset.doc)); });
  $("list").addEventListener("keydown", e => {
    const by = { ArrowDown: 1, ArrowUp: -1, PageDown: 10, PageUp: -10 }[e.key];
    if (by) { step(by); e.preventDefault(); }
    if (e.key === "Home" && shown.length) { select(shown[0]); e.preventDefault(); }
    if (e.key === "End" && shown.length) { select(shown[shown.length - 1]); e.preventDefault(); }
  });
  addEventListener("keydown", e => {
    if (e.ctrlKey || e.metaKey || e.altKey || ["INPUT", "SELECT"].includes(e.target.tagName)) return;
    if (e.key === "j") step(1);
    if (e.key === "k") step(-1);
  });
  addEventListener("hashchange", () => { if (location.hash.includes("task=")) { readHash(); refresh(true); } });
  addEventListener("beforeprint", () => document.querySelectorAll("details").forEach(d => { d.open = true; }));

  $("filters").hidden = false;
  $("samples").hidden = false;
  const linked = location.hash.includes("task=");
  if (linked) readHash();
  refresh(true);
  if (linked) $("browser").scrollIntoView();
})();
