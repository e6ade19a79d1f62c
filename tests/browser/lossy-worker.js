// The package's worker, with what a test asks of it over a channel: to lose the device, and how much memory the module has.
import "/npm/worker.js";
import init from "/npm/dist/carat_web.js";

const devices = [];
const proto = globalThis.GPUAdapter?.prototype;
const request = proto?.requestDevice;
if (proto) {
  proto.requestDevice = async function (...args) {
    const device = await request.apply(this, args);
    devices.push(device);
    return device;
  };
}
const channel = new BroadcastChannel("carat-test");
channel.onmessage = async ({ data }) => {
  if (data === "lose") devices.splice(0).forEach((d) => d.destroy());
  if (data === "memory") channel.postMessage({ memory: (await init()).memory.buffer.byteLength });
};
