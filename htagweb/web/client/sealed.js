/* Sealed lines: the same two ways, and nothing in clear text after the keys. What a worker says outside of a
   frame (why it closes, why it refuses) is not shown: anybody on the way could have written it. */

/* What has a WebSocket's face, and carries frames numbered 1, 2, 3.. in each direction. */
class SealedSocket {
  onopen = null;
  onmessage = null;
  onclose = null;
  #socket = null;
  #seal = null;
  #closed = false;
  #sent = 0;
  #received = 0;
  #sending = Promise.resolve(); // WebCrypto answers in any order
  #receiving = this.#sending;

  constructor(query) {
    this.#receive(() => this.#open(query));
  }

  send(text) {
    const number = ++this.#sent;
    const frame = this.#seal.seal(number, text);
    this.#sending = this.#sending
      .then(async () => this.#socket.send(await frame))
      .catch((error) => this.#fail(error));
  }

  close() {
    this.#closed = true;
    this.#socket?.close();
  }

  async #open(query) {
    const agreement = await Agreement.begin();
    if (this.#closed) return;
    this.#socket = openSocket({ ...query, ...agreement.offer });
    this.#socket.binaryType = "arraybuffer";
    this.#socket.onmessage = ({ data }) => this.#receive(() => this.#handleMessage(data, agreement));
    this.#socket.onclose = ({ code }) => this.#receive(() => this.#end({ code, reason: "" }));
  }

  async #handleMessage(data, agreement) {
    if (this.#seal) {
      const text = await this.#seal.open(++this.#received, data);
      if (!this.#closed) this.onmessage({ data: text });
    } else {
      this.#seal = await agreement.complete(serverKey(data).key);
      if (!this.#closed) this.onopen();
    }
  }

  /* One after the other, none after the end. */
  #receive(handle) {
    this.#receiving = this.#receiving
      .then(() => this.#closed || handle())
      .catch((error) => this.#fail(error));
  }

  #fail(error) {
    console.warn("htagweb:", error);
    this.#end(closingOf(error));
  }

  #end(closing) {
    if (this.#closed) return;
    this.close();
    this.onclose(closing);
  }
}

/* POSTs whose bodies are frames of one channel; an answer has its question's number. */
class SealedPosts {
  #channel = null;
  #number = 0;

  /* The caller waits for an answer's headers before it asks again: no lower number may follow a higher. */
  async ask(text, signal) {
    this.#channel ??= this.#agree(signal);
    const { refused, channel, seal } = await this.#channel;
    if (refused) return refused;
    const number = ++this.#number;
    const headers = { "content-type": "application/octet-stream", "x-htagweb-channel": channel };
    const response = await post(await seal.seal(number, text), headers, signal);
    const read = async () => seal.open(number, await response.arrayBuffer());
    return { status: response.status, read, readReason: noReason };
  }

  async #agree(signal) {
    const agreement = await Agreement.begin();
    const hello = JSON.stringify({ htagweb: agreement.offer });
    const response = await post(hello, { "content-type": "application/json" }, signal);
    if (response.status !== 200) return { refused: { status: response.status, readReason: noReason } };
    const { key, channel } = serverKey(await response.text());
    return { channel, seal: await agreement.complete(key) };
  }
}

const noReason = async () => "";

function serverKey(text) {
  try {
    const { key, channel } = JSON.parse(text).htagweb;
    return { key, channel };
  } catch (error) {
    throw new LineError(CLOSE.notSealed, `expected the server's key: ${error}`);
  }
}
