//#import lanes
// The sum of a buffer's words: what a device's memory gives, beside which other kernels are measured.
// Grid: x = ceil(quads / (128·LANES)), y = 1.

@group(0) @binding(0) var<uniform> params: Params;
// [quads]
@group(0) @binding(1) var<storage, read> words: array<vec4<u32>>;
// The sum modulo 2^32, added to what is there.
@group(0) @binding(2) var<storage, read_write> sum: array<atomic<u32>>;

// Loads of a lane, each of four times 16 bytes.
const LOADS: u32 = 32u;

@compute @workgroup_size(LANES)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let first = group.x * (LANES * LOADS * 4u) + lid * 4u;
    var own = vec4<u32>();
    for (var i = 0u; i < LOADS; i++) {
        let at = first + i * LANES * 4u;
        if (at + 3u < params.quads) {
            own += words[at] + words[at + 1u] + words[at + 2u] + words[at + 3u];
        } else {
            for (var j = at; j < params.quads; j++) {
                own += words[j];
            }
        }
    }
    atomicAdd(&sum[0], own.x + own.y + own.z + own.w);
}
