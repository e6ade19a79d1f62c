// The package's worker, with what a test asks of it. Over a channel: to lose the device, how much memory the module has, how many
// submissions there were. In its address: `gpu`, that the GPU counts as the faster device; `clock=N`, that N times as much time
// seems to pass.
import "/npm/worker.js";
import init, { Engine } from "/npm/dist/carat_web.js";

const wish = new URL(import.meta.url).searchParams;
if (wish.has("gpu")) {
  Engine.prototype.pace = async function () {
    return this.gpu ? 1 : 2;
  };
}
if (wish.has("clock")) {
  const now = performance.now.bind(performance);
  performance.now = () => now() * Number(wish.get("clock"));
}

const devices = [];
let submissions = 0;
const adapter = globalThis.GPUAdapter?.prototype;
const queue = globalThis.GPUQueue?.prototype;
if (adapter) {
  const { requestDevice } = adapter;
  adapter.requestDevice = async function (...args) {
    const device = await requestDevice.apply(this, args);
    devices.push(device);
    return device;
  };
  const { submit } = queue;
  queue.submit = function (...args) {
    submissions++;
    return submit.apply(this, args);
  };
}
const channel = new BroadcastChannel("carat-test");
channel.onmessage = async ({ data }) => {
  if (data === "lose") devices.splice(0).forEach((d) => d.destroy());
  if (data === "memory") channel.postMessage({ memory: (await init()).memory.buffer.byteLength });
  if (data === "submissions") channel.postMessage({ submissions });
};
