/* Events: what the app is told of the DOM event that made the page interact. htag's tags call
   `jevent(event)` for it.

   htag's own function asks each event for all its properties and methods anew, which takes longer than all
   else that a click needs before it is sent. Here the names are found once for each kind of event, and fewer:
   without what steers an event in the page, which is over when the app hears of it, and without what follows
   from the rest or is as usual, which the app's side adds again (htagweb/host/engines/events.py). */
const STEERING = [
  ...["isTrusted", "eventPhase", "bubbles", "cancelable", "composed"],
  ...["defaultPrevented", "returnValue", "cancelBubble"],
];
const OF_ANY_MOUSE = ["x", "y"]; // clientX and clientY by other names
const CLICKS = ["click", "auxclick", "contextmenu"];
const USUAL_CLICK = {
  ...{ width: 1, height: 1, pressure: 0, tangentialPressure: 0, tiltX: 0, tiltY: 0, twist: 0 },
  ...{ azimuthAngle: 0, altitudeAngle: Math.PI / 2, isPrimary: false, movementX: 0, movementY: 0 },
};
const kinds = new Map(); // type -> {kind, names}; kind is the prototype

/* Return an event's properties that are plain values; `htags` does it for what is no event. */
function eventData(event, htags) {
  if (!(event instanceof Event)) return htags(event);
  // What our own line brings is no event of the app's: its data would send the answer back.
  if (ourSockets.has(event.target)) return {};
  const data = {};
  const usual = "pointerType" in event && CLICKS.includes(event.type) ? USUAL_CLICK : {};
  const own = Object.keys(event).filter((name) => !STEERING.includes(name)); // what the page's scripts added
  for (const name of [...namesOf(event), ...own]) {
    const value = event[name];
    if (["number", "boolean", "string"].includes(typeof value) && value !== usual[name]) data[name] = value;
  }
  return data;
}

function namesOf(event) {
  const kind = Object.getPrototypeOf(event);
  let known = kinds.get(event.type);
  if (known?.kind !== kind) kinds.set(event.type, (known = { kind, names: findNames(event) }));
  return known.names;
}

function findNames(event) {
  const left = [...STEERING];
  if ("clientX" in event) left.push(...OF_ANY_MOUSE);
  const names = [];
  for (const name in event) {
    const isConstant = name.toUpperCase() === name;
    const isOwn = Object.hasOwn(event, name);
    if (!isConstant && !isOwn && !left.includes(name) && typeof event[name] !== "function") names.push(name);
  }
  return names;
}
