// The softphone: one line, one call. What the page shows is drawn from the SDK's call and from what stands in here; the
// SDK itself is the published one. Query: ?name=NAME&trickle=1&relay=1 fill in the form.
const $ = (id) => document.getElementById(id);
const live = (call) => Boolean(call) && !["hangup", "destroy", "purge"].includes(call.state);

let client; // of the SDK, while logged in or trying to
let call; // the call there is, or the last one
let activeSince = 0, received = "", path = "";
let bell;

const query = new URLSearchParams(location.search);
$("name").value = query.get("name") ?? localStorage.getItem("name") ?? "browser1";
$("trickle").checked = query.has("trickle");
$("relay").checked = query.has("relay");
for (const key of "123456789*0#") {
  const button = document.createElement("button");
  button.type = "button";
  button.className = "plain";
  button.textContent = key;
  button.addEventListener("click", () => { call.dtmf(key); note(`sent digit ${key}`); });
  $("keypad").append(button);
}

const sdk = await import("./sdk.mjs").catch(() => null);
if (!sdk) {
  trouble("The SDK is missing. Run `make web` where Sidetone was built (it installs @telnyx/webrtc by npm), then load this page again.");
} else if (!navigator.mediaDevices) {
  trouble("A browser gives its microphone only to pages that come over https or from this machine itself: open this page over https.");
}
$("enter").disabled = !sdk || !navigator.mediaDevices;
document.documentElement.dataset.ready = String(!$("enter").disabled);

$("login").addEventListener("submit", (e) => { e.preventDefault(); login().catch((err) => trouble(err.message)); });
$("leave").addEventListener("click", logout);
$("dial").addEventListener("submit", (e) => { e.preventDefault(); dial(); });
$("answer").addEventListener("click", () => call.answer());
$("hangup").addEventListener("click", () => call.hangup());
$("hold").addEventListener("click", () => call.toggleHold());
$("mute").addEventListener("click", () => { call.toggleAudioMute(); draw(); });
$("restart").addEventListener("click", restart);
setInterval(measure, 1000);
draw();

async function login() {
  trouble("");
  $("enter").disabled = true;
  try {
    const name = $("name").value;
    const answer = await fetch("../api/phone", {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify({ name }),
    });
    const account = await answer.json();
    if (!answer.ok) throw new Error(account.error);
    localStorage.setItem("name", name);
    client = new sdk.TelnyxRTC({
      login_token: account.token,
      host: `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}`,
      iceServers: account.ice_servers,
      trickleIce: $("trickle").checked,
      forceRelayCandidate: $("relay").checked,
    });
    client.remoteElement = "remote";
    follow(client);
    line("", "logging in…");
    await client.connect();
  } finally {
    $("enter").disabled = false;
    draw();
  }
}

// follow draws what a client of the SDK tells, as long as it is ours.
function follow(c) {
  const on = (event, f) => c.on(event, (e) => { if (c === client) { f(e); draw(); } });
  on("telnyx.ready", () => line("live", `registered as ${$("name").value}`));
  on("telnyx.socket.close", () => line("lost", "the gateway does not answer; trying again"));
  on("telnyx.error", (e) => problem("error", e.error ?? e));
  on("telnyx.warning", (e) => problem("warning", e.warning ?? e));
  on("telnyx.notification", (n) => {
    if (n.type === "callUpdate" && n.call) take(n.call);
    else if (n.dtmf) { received += n.dtmf; note(`received digit ${n.dtmf}`); }
  });
}

// take takes over a call's new state. One call at a time is shown: another one that comes in meanwhile is refused.
function take(c) {
  if (call && c.id !== call.id && live(call)) {
    if (c.state === "ringing") c.hangup();
    return;
  }
  if (call?.id !== c.id) { activeSince = 0; received = ""; path = ""; }
  const before = call?.id === c.id ? $("call").dataset.state : "none";
  call = c;
  if (c.state === before) return;
  if (c.state === "active" && !activeSince) activeSince = Date.now();
  note(`call ${c.state}` + (live(c) || !c.cause ? "" : `: ${c.cause} ${c.causeCode}`));
}

function logout() {
  const leaving = client;
  client = undefined;
  if (live(call)) call.hangup();
  call = undefined;
  leaving?.disconnect();
  line("", "logged out");
  draw();
}

function dial() {
  trouble("");
  client.newCall({ destinationNumber: $("destination").value.trim(), callerName: $("name").value, callerNumber: $("name").value, audio: true, video: false });
}

// restart finds a new path for the sound while the call goes on, as the SDK does by itself when media fails.
function restart() {
  const r = call.peer.restartIce();
  note(r.started ? "ICE restart" : `no ICE restart: ${r.reason}`);
}

function draw() {
  const on = live(call), talking = on && (call.state === "active" || call.state === "held");
  const incoming = on && call.direction === "inbound" && call.state === "ringing";
  const registered = $("line").classList.contains("live");
  $("enter").hidden = Boolean(client);
  $("leave").hidden = !client;
  $("name").disabled = $("options").disabled = Boolean(client);
  $("ring").disabled = $("destination").disabled = !registered || on;
  $("answer").hidden = !incoming;
  $("hangup").hidden = !on;
  $("hangup").textContent = incoming ? "Reject" : "Hang up";
  for (const id of ["hold", "mute", "restart", "keypad"]) $(id).hidden = !talking;
  toggle("hold", call?.state === "held", "Hold", "Take back");
  toggle("mute", Boolean(call?.isAudioMuted), "Mute", "Unmute");

  const state = call?.state ?? "none";
  $("call").dataset.state = state;
  $("call").dataset.cause = on || !call?.cause ? "" : `${call.cause} ${call.causeCode}`;
  $("call").className = "call " + (talking ? "talking" : on ? "ringing" : "");
  $("call").querySelector(".state").textContent = on ? (incoming ? "incoming call" : state) : "no call";
  $("call").querySelector(".detail").textContent = detail(on);
  const facts = [];
  if (path && talking) facts.push(["path", path]);
  if (received) facts.push(["digits", received]);
  $("facts").replaceChildren(...facts.flatMap(([k, v]) => [element("dt", k), element("dd", v)]));
  $("facts").dataset.digits = received;
  ring(incoming);
}

function detail(on) {
  if (!call) return "";
  const o = call.options;
  const peer = call.direction === "inbound" ? o.remoteCallerName || o.remoteCallerNumber : o.destinationNumber;
  if (on) return `${call.direction === "inbound" ? "from" : "to"} ${peer}` + (activeSince ? " · " + clock(Date.now() - activeSince) : "");
  return call.cause ? `· the last one ended with ${call.cause}` : "";
}

function toggle(id, pressed, off, on) {
  $(id).setAttribute("aria-pressed", pressed);
  $(id).textContent = pressed ? on : off;
}

// measure says which way the sound takes, once a second.
async function measure() {
  const pc = live(call) && call.peer?.instance;
  if (!pc || pc.connectionState === "closed") return;
  const stats = await pc.getStats();
  for (const s of stats.values()) {
    if (s.type !== "transport" || !s.selectedCandidatePairId) continue;
    const pair = stats.get(s.selectedCandidatePairId);
    const [local, remote] = [stats.get(pair?.localCandidateId), stats.get(pair?.remoteCandidateId)];
    if (local && remote) {
      path = `${local.candidateType} ${local.relayProtocol ?? local.protocol} ↔ ${remote.candidateType}` +
        (pair.currentRoundTripTime === undefined ? "" : ` · ${(pair.currentRoundTripTime * 1000).toFixed(1)} ms`);
    }
  }
  draw();
}

// The bell sounds exactly while a call rings here.
function ring(on) {
  if (on === Boolean(bell)) return;
  if (!on) { bell.close(); bell = undefined; return; }
  bell = new AudioContext();
  const tone = bell.createOscillator(), beat = bell.createOscillator(), gain = bell.createGain(), depth = bell.createGain();
  tone.frequency.value = 520;
  beat.type = "square";
  beat.frequency.value = 0.5;
  gain.gain.value = depth.gain.value = 0.04;
  beat.connect(depth).connect(gain.gain);
  tone.connect(gain).connect(bell.destination);
  tone.start();
  beat.start();
}

function line(kind, text) {
  if ($("line").textContent !== text) note(text);
  $("line").className = "stream " + kind;
  $("line").textContent = text;
}

function problem(kind, e) {
  const text = [e.code, e.name, e.message].filter(Boolean).join(" ") || String(e);
  note(`${kind}: ${text}`, "bad");
  if (e.code === 46001 || e.code === 46002) line("lost", "login refused");
}

function trouble(text) {
  $("trouble").textContent = text;
  $("trouble").hidden = !text;
}

const logLimit = 200;
function note(text, className) {
  const entry = element("li", "", className);
  const now = new Date();
  const time = element("time", now.toLocaleTimeString());
  time.dateTime = now.toISOString();
  entry.append(time, text);
  $("log").prepend(entry);
  if ($("log").children.length > logLimit) $("log").lastChild.remove();
}

function element(name, text, className) {
  const e = document.createElement(name);
  e.textContent = text;
  if (className) e.className = className;
  return e;
}

function clock(ms) {
  const s = Math.max(0, Math.round(ms / 1000));
  return `${Math.floor(s / 60)}:${String(s % 60).padStart(2, "0")}`;
}

// Whom one can call: the lab's own destinations, and whoever is registered.
const builtin = ["echo", "tone", "concierge"];
new EventSource("../api/events").onmessage = (e) => {
  const there = JSON.parse(e.data).devices.filter((d) => d.registered && d.name !== $("name").value).map((d) => d.name);
  $("destinations").replaceChildren(...[...there, ...builtin].map((name) => {
    const o = document.createElement("option");
    o.value = name;
    return o;
  }));
};
