/* A line over one WebSocket, or what has a WebSocket's face. */
class SocketLine {
  expecting = true; // a socket that is alive answers pings, and pings keep it alive
  #socket;
  #pings = 0;

  constructor(socket, events) {
    this.#socket = socket;
    socket.onopen = () => events.opened();
    socket.onmessage = ({ data }) => events.received(parsed(data));
    socket.onclose = (event) => events.closed(event);
  }

  send(text) {
    this.#socket.send(text);
  }

  ping() {
    this.#pings += 1;
    this.#socket.send(JSON.stringify({ htagweb: { ping: this.#pings } }));
  }

  /* Its own close event is not waited for: on a dead network it comes a minute late. */
  close() {
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
  }
}

const ourSockets = new WeakSet();

function openSocket(query) {
  const scheme = config.ssl || location.protocol === "https:" ? "wss:" : "ws:";
  const socket = new WebSocket(`${scheme}//${location.host}${config.url}?${new URLSearchParams(query)}`);
  ourSockets.add(socket);
  return socket;
}

/* What is not JSON goes to htag's action() as it is, which tells about it. */
function parsed(text) {
  try {
    return JSON.parse(text);
  } catch (error) {
    console.error("htagweb:", error);
    return text;
  }
}
