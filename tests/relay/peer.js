// The relay under npm's ws: two clients register, and packets of one reach the other.   node peer.js URL
"use strict";
const WebSocket = require("ws");
const crypto = require("crypto");
const url = process.argv[2];
const host = new URL(url).host;
const PATIENCE_MS = 20000;

const bstr = (b) => Buffer.concat([b.length < 24 ? Buffer.from([0x40 | b.length]) : Buffer.from([0x58, b.length]), b]);
const map = (...pairs) => Buffer.concat([Buffer.from([0xa0 | pairs.length]), ...pairs.map(([k, v]) => Buffer.concat([Buffer.from([k]), v]))]);
const message = (type, ...pairs) => Buffer.concat([Buffer.from([type]), map(...pairs)]);

function client(number) {
  const { publicKey, privateKey } = crypto.generateKeyPairSync("ed25519");
  const key = publicKey.export({ type: "spki", format: "der" }).subarray(-32);
  const device = Buffer.alloc(16, number), instance = Buffer.alloc(8, number);
  const ws = new WebSocket(url, "kith-relay.v1");
  const waiting = [], got = [];
  ws.on("message", (data) => (waiting.length ? waiting.shift()(data) : got.push(data)));
  ws.on("error", (e) => { console.log(`error: ${e.message}`); process.exit(1); });
  const next = () => (got.length ? Promise.resolve(got.shift()) : new Promise((r) => waiting.push(r)));
  const register = async () => {
    const challenge = await next(); // 01 a2 01 58 20 nonce ...
    const signed = Buffer.concat([Buffer.from("kith relay register v1\0"), challenge.subarray(5, 37), Buffer.from([host.length]), Buffer.from(host),
      device, instance]);
    ws.send(message(2, [1, bstr(device)], [2, bstr(key)], [3, bstr(instance)], [4, bstr(crypto.sign(null, signed, privateKey))]));
    const registered = await next();
    if (registered[0] !== 3) throw new Error(`message ${registered[0]}`);
  };
  return { ws, next, register };
}

async function main() {
  setTimeout(() => { console.log("too slow"); process.exit(1); }, PATIENCE_MS);
  const a = client(1), b = client(2);
  await Promise.all([a.register(), b.register()]);
  a.ws.send(message(14, [1, Buffer.from([5])])); // a mailbox: its name needs no BLAKE3
  await a.next();
  b.ws.send(message(16, [1, Buffer.from([5])], [2, Buffer.from([7])]));
  const connected = await b.next(), incoming = await a.next();
  if (connected[0] !== 5 || incoming[0] !== 6) throw new Error("no session");
  const session = incoming.subarray(4, 8); // 06 a4 01 1a session
  const packets = crypto.randomBytes(60000);
  a.ws.send(Buffer.concat([Buffer.from([8]), session, Buffer.from([1000 >> 8, 1000 & 255]), packets]));
  const data = await b.next();
  if (!data.subarray(0, 7).equals(Buffer.from([8, 0, 0, 0, 7, 1000 >> 8, 1000 & 255])) || !data.subarray(7).equals(packets)) throw new Error("other bytes");
  a.ws.ping();
  await new Promise((r) => a.ws.once("pong", r));
  a.ws.close(1000);
  await new Promise((r) => a.ws.once("close", (code) => { if (code !== 1000) throw new Error(`closed with ${code}`); r(); }));
  console.log("passed");
  process.exit(0);
}
main().catch((e) => { console.log(e.message); process.exit(1); });
