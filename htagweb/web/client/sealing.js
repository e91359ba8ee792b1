/* Sealing: keys that this page and the web worker agree on, and frames that only they can read or make. */
const CURVES = { X25519: { name: "X25519" }, "P-256": { name: "ECDH", namedCurve: "P-256" } };
const CANNOT_SEAL =
  "This page speaks encrypted only, and the browser offers that on https:// and on localhost alone. " +
  "Open it at such an address.";
const NO_CURVE = "This page speaks encrypted only, and this browser cannot. Use a newer one.";

const utf8 = (text) => new TextEncoder().encode(text);
const base64url = (bytes) =>
  btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
const bytesOf = (text) =>
  Uint8Array.from(atob(text.replaceAll("-", "+").replaceAll("_", "/")), (char) => char.charCodeAt(0));

/* One agreement: `offer` goes to the worker, and `complete` makes a Seal of its answer. */
class Agreement {
  #curve;
  #pair;
  #raw;

  constructor(curve, pair, raw) {
    [this.#curve, this.#pair, this.#raw] = [curve, pair, raw];
  }

  /* Make a key pair that lives as long as this line. */
  static async begin() {
    if (!window.isSecureContext || !crypto.subtle) throw new LineError(CLOSE.cannotSeal, CANNOT_SEAL);
    for (const [curve, algorithm] of Object.entries(CURVES)) {
      try {
        const pair = await crypto.subtle.generateKey(algorithm, false, ["deriveBits"]);
        const raw = await crypto.subtle.exportKey("raw", pair.publicKey);
        return new Agreement(curve, pair, new Uint8Array(raw));
      } catch (error) {
        console.info("htagweb:", curve, error); // the next one is tried
      }
    }
    throw new LineError(CLOSE.cannotSeal, NO_CURVE);
  }

  get offer() {
    return { curve: this.#curve, key: base64url(this.#raw) };
  }

  async complete(key) {
    try {
      const theirs = bytesOf(key);
      const algorithm = CURVES[this.#curve];
      const from = await crypto.subtle.importKey("raw", theirs, algorithm, false, []);
      const agreed = { name: algorithm.name, public: from };
      const bits = await crypto.subtle.deriveBits(agreed, this.#pair.privateKey, 256);
      const shared = await crypto.subtle.importKey("raw", bits, "HKDF", false, ["deriveKey"]);
      const context = [...utf8(`htagweb parano 1\0${this.#curve}\0`), ...this.#raw, ...theirs];
      const salt = await crypto.subtle.digest("SHA-256", new Uint8Array(context));
      const derive = (info, use) =>
        crypto.subtle.deriveKey(
          { name: "HKDF", hash: "SHA-256", salt, info: utf8(info) },
          shared,
          { name: "AES-GCM", length: 256 },
          false,
          [use],
        );
      const ours = await derive("browser to server", "encrypt");
      return new Seal(ours, await derive("server to browser", "decrypt"));
    } catch (error) {
      throw new LineError(CLOSE.notSealed, `no keys could be agreed on: ${error}`);
    }
  }
}

/* The keys of both directions. A frame is its number (8 bytes, big-endian), then AES-GCM's output with that
   number as nonce: the caller sees to it that none is used twice. */
class Seal {
  #ours;
  #theirs;

  constructor(ours, theirs) {
    [this.#ours, this.#theirs] = [ours, theirs];
  }

  async seal(number, text) {
    const head = headOf(number);
    const sealed = await crypto.subtle.encrypt(aesGcm(head), this.#ours, utf8(text));
    return new Blob([head, sealed]).arrayBuffer();
  }

  /* Return the text of the frame with this number; LineError for any other frame, and for what is none. */
  async open(number, frame) {
    const head = headOf(number);
    const bytes = frame instanceof ArrayBuffer ? new Uint8Array(frame) : [];
    if (bytes.length < head.length || head.some((byte, index) => byte !== bytes[index])) {
      throw new LineError(CLOSE.notSealed, `expected the sealed frame number ${number}`);
    }
    try {
      const text = await crypto.subtle.decrypt(aesGcm(head), this.#theirs, bytes.subarray(head.length));
      return new TextDecoder("utf-8", { fatal: true }).decode(text);
    } catch (error) {
      throw new LineError(CLOSE.notSealed, `frame number ${number} does not open: ${error}`);
    }
  }
}

function headOf(number) {
  const head = new Uint8Array(8);
  new DataView(head.buffer).setBigUint64(0, BigInt(number));
  return head;
}

const aesGcm = (head) => ({ name: "AES-GCM", iv: new Uint8Array([0, 0, 0, 0, ...head]) });
