// The page follows the lab by Server-Sent Events and draws what it is told. Whatever comes from the lab goes in as
// text, never as HTML.
const $ = (id) => document.getElementById(id);
const cards = new Map(); // by device name
let state = { devices: [], reports: [] };

const events = new EventSource("api/events");
events.onmessage = (e) => {
  state = JSON.parse(e.data);
  stream("live", "live");
  draw();
};
events.onerror = () => stream("lost", "the lab does not answer; trying again");
setInterval(drawClocks, 1000);

function stream(kind, text) {
  if ($("stream").textContent === text) return;
  $("stream").className = "stream " + kind;
  $("stream").textContent = text;
}

function draw() {
  const names = new Set(state.devices.map((d) => d.name));
  for (const [name, card] of cards) {
    if (!names.has(name)) {
      card.remove();
      cards.delete(name);
    }
  }
  state.devices.forEach((d, i) => {
    const card = cards.get(d.name) ?? newCard(d);
    if ($("devices").children[i] !== card) $("devices").insertBefore(card, $("devices").children[i] ?? null);
    drawDevice(card, d);
  });
  drawReports();
}

function newCard(d) {
  const card = $("device").content.firstElementChild.cloneNode(true);
  card.querySelector("h3").textContent = d.name;
  cards.set(d.name, card);
  for (const name of d.buttons) {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = `Press “${name}”`;
    button.setAttribute("aria-label", `Press button ${name} of ${d.name}`);
    button.addEventListener("click", () => press(card, d.name, name));
    card.querySelector(".buttons").append(button);
  }
  return card;
}

function drawDevice(card, d) {
  const [kind, text] = health(d);
  const badge = card.querySelector(".badge");
  badge.className = "badge " + kind;
  badge.textContent = text;

  const call = card.querySelector(".call");
  const live = d.call;
  call.className = "call " + (live ? (live.state === "active" || live.state === "held" ? "talking" : "ringing") : "");
  call.querySelector(".state").textContent = live ? live.state : "no call";
  call.querySelector(".detail").textContent = detail(d);

  drawPlots(card.querySelector(".plots"), d.live ?? []);

  const facts = [];
  if (d.firmware) facts.push(["firmware", d.firmware]);
  if (d.board) facts.push(["board", d.board]);
  if (d.remote) facts.push(["from", d.remote]);
  if (d.line) facts.push(["line", d.line]);
  if (d.update) facts.push(["update", update(d.update)]);
  card.querySelector("dl").replaceChildren(...facts.flatMap(([k, v]) => [element("dt", k), element("dd", v)]));

  const online = d.status === "online";
  for (const b of card.querySelectorAll("button")) {
    b.disabled = !online;
    b.title = online ? "" : "The device is not online";
  }
}

// What is drawn of a call: the keys of a point, and the least that the scale reaches to.
const plots = [
  { name: "Buffer", keys: ["buffer", "target"], least: 40, unit: " ms", digits: 0, about: "delay in the playout buffer; dashed: what it aims at" },
  { name: "Loss", keys: ["loss"], least: 5, unit: " %", digits: 1, about: "packets that did not come" },
  { name: "Concealed", keys: ["concealed"], least: 5, unit: " %", digits: 1, about: "sound that was made up" },
  { name: "RTT", keys: ["rtt"], least: 50, unit: " ms", digits: 0, about: "round trip" },
  { name: "MOS", keys: ["mos"], from: 1, least: 4.5, unit: "", digits: 2, about: "of the call so far" },
];
const plotSeconds = 120;

function drawPlots(into, points) {
  into.hidden = points.length === 0;
  if (into.hidden) return;
  plots.forEach((p, i) => {
    const figure = into.children[i] ?? into.appendChild($("plot").content.firstElementChild.cloneNode(true));
    drawPlot(figure, p, points);
  });
}

function drawPlot(figure, p, points) {
  const end = Date.parse(points.at(-1).t);
  const from = p.from ?? 0;
  const most = Math.max(p.least, ...points.flatMap((q) => p.keys.map((k) => q[k] ?? 0)));
  const x = (q) => 240 - (240 * (end - Date.parse(q.t))) / 1000 / plotSeconds;
  const y = (v) => 55 - (54 * (v - from)) / (most - from);
  const path = (key) => {
    let d = "";
    let pen = "M"; // lifted where nothing was measured
    for (const q of points) {
      if (q[key] === undefined) pen = "M";
      else {
        d += `${pen}${x(q).toFixed(1)} ${y(q[key]).toFixed(1)}`;
        pen = "L";
      }
    }
    return d;
  };
  const last = points.at(-1)[p.keys[0]];
  const value = last === undefined ? "–" : last.toFixed(p.digits) + p.unit;
  figure.title = p.about;
  figure.querySelector(".name").textContent = p.name;
  figure.querySelector(".value").textContent = value;
  figure.querySelector(".scale").textContent = most.toFixed(most < 10 ? 1 : 0) + p.unit;
  figure.querySelector("svg").setAttribute("aria-label", `${p.name}, ${p.about}: now ${value}`);
  figure.querySelector(".first").setAttribute("d", path(p.keys[0]));
  figure.querySelector(".second").setAttribute("d", p.keys[1] ? path(p.keys[1]) : "");
}

function health(d) {
  if (d.registered && (d.status === "online" || !d.enrolled)) return ["good", "registered"];
  if (d.registered) return ["fair", "registered, no MQTT"];
  if (d.status === "online") return ["fair", "online, not registered"];
  return [d.status === "offline" ? "bad" : "", d.status === "offline" ? "offline" : "not seen yet"];
}

function update(u) {
  const percent = u.update_percentage === undefined ? "" : ` ${u.update_percentage} %`;
  return `${u.phase}${u.phase === "idle" || u.phase === "off" ? "" : ` ${u.latest_version}`}${percent}` + (u.reason ? ` (${u.reason})` : "");
}

function detail(d) {
  const c = d.call;
  if (c) {
    const way = c.direction === "inbound" ? "from" : "to";
    const time = c.active ? " · " + clock(Date.now() - Date.parse(c.active)) : "";
    return (c.peer ? `${way} ${c.peer}` : "") + time;
  }
  if (d.last?.ended) return `· last ended ${new Date(d.last.ended).toLocaleTimeString()}` + (d.last.cause ? `, ${d.last.cause}` : "");
  return "";
}

function drawClocks() {
  for (const d of state.devices) {
    const card = cards.get(d.name);
    if (card && d.call?.active) card.querySelector(".detail").textContent = detail(d);
  }
}

function drawReports() {
  $("no-reports").hidden = state.reports.length > 0;
  $("reports").closest("table").hidden = state.reports.length === 0;
  $("reports").replaceChildren(...state.reports.map((r) => {
    const row = document.createElement("tr");
    const way = r.direction === "inbound" ? `from ${r.caller ?? "?"}` : `to ${r.destination ?? "?"}`;
    const mos = element("td", "");
    mos.append(element("span", r.mos === undefined ? "–" : r.mos.toFixed(2), "badge " + grade(r.mos)));
    row.append(
      element("td", r.device ?? "–"),
      element("td", way),
      mos,
      element("td", clock(r.seconds * 1000), "number"),
      element("td", r.path ?? "–"),
      element("td", figure(r.loss_percent, 2, " %"), "number"),
      element("td", figure(r.concealed_percent, 2, " %"), "number"),
      element("td", figure(r.jitter_ms, 1, " ms"), "number"),
      element("td", figure(r.rtt_ms, 1, " ms"), "number"),
      element("td", r.cause ?? "–"),
      element("td", r.ended ? new Date(r.ended).toLocaleTimeString() : "–"),
    );
    return row;
  }));
}

// Grades of a MOS as Telnyx's SDKs word them: 4.1 good, 3.7 fair.
const grade = (mos) => (mos === undefined ? "" : mos >= 4.1 ? "good" : mos >= 3.7 ? "fair" : "bad");
const figure = (v, digits, unit) => (v === undefined ? "–" : v.toFixed(digits) + unit);

function clock(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`;
}

function element(name, text, className) {
  const e = document.createElement(name);
  e.textContent = text;
  if (className) e.className = className;
  return e;
}

async function press(card, device, button) {
  const reply = card.querySelector(".reply");
  say("", "pressing…");
  try {
    const answer = await fetch("api/press", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ device, button }),
    });
    const r = await answer.json();
    if (r.ok) say("good", "done");
    else say("bad", r.error || "the device refused");
  } catch {
    say("bad", "the lab does not answer");
  }

  function say(kind, text) {
    reply.className = "reply " + kind;
    reply.textContent = text;
    clearTimeout(reply.timer);
    if (kind === "good") reply.timer = setTimeout(() => (reply.textContent = ""), 4000);
  }
}
