// Checksum and arg-max of each row of logits: one workgroup a row. Grid: x = 1, y = row.

@group(0) @binding(0) var<uniform> params: Params;
// [R][cols]
@group(0) @binding(1) var<storage, read> logits: array<i32>;
// [R][checksum low, checksum high, arg-max, maximum]
@group(0) @binding(2) var<storage, read_write> results: array<u32>;

var<workgroup> low_sum: atomic<u32>;
var<workgroup> high_sum: atomic<u32>;
// Biased so that zero, the initial value, is the least.
const BIAS: u32 = 0x80000000u;
var<workgroup> most: atomic<u32>;
// Complement of the least index that holds the maximum.
var<workgroup> least: atomic<u32>;

fn mix(i: u32, z: u32, seed: u32) -> u32 {
    var x = z ^ (i * 0x9e3779b1u + seed);
    x ^= x >> 16u;
    x *= 0x85ebca6bu;
    x ^= x >> 13u;
    x *= 0xc2b2ae35u;
    return x ^ (x >> 16u);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let row = group.y * params.cols;
    var low = 0u;
    var high = 0u;
    var best = 0u;
    var index = 0u;
    for (var i = lid; i < params.cols; i += 256u) {
        let z = bitcast<u32>(logits[row + i]);
        low += mix(i, z, MIX_LOW);
        high += mix(i, z, MIX_HIGH);
        // The first index of a lane's maximum: later equals are not above it.
        let biased = z ^ BIAS;
        if (biased > best || i == lid) {
            best = biased;
            index = i;
        }
    }
    atomicAdd(&low_sum, low);
    atomicAdd(&high_sum, high);
    atomicMax(&most, best);
    workgroupBarrier();
    let maximum = atomicLoad(&most);
    if (lid < params.cols && best == maximum) {
        atomicMax(&least, ~index);
    }
    workgroupBarrier();
    if (lid == 0u) {
        let at = group.y * RESULT_WORDS;
        results[at] = atomicLoad(&low_sum);
        results[at + 1u] = atomicLoad(&high_sum);
        results[at + 2u] = ~atomicLoad(&least);
        results[at + 3u] = maximum ^ BIAS;
    }
}
