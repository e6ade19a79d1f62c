// The sum of a buffer's words: what a device's memory gives, beside which other kernels are measured.
// Grid: x = ceil(quads / 1024), y = 1.

@group(0) @binding(0) var<uniform> params: Params;
// [quads]
@group(0) @binding(1) var<storage, read> words: array<vec4<u32>>;
// The sum modulo 2^32, added to what is there.
@group(0) @binding(2) var<storage, read_write> sum: array<atomic<u32>>;

// Loads of a lane, each of 16 bytes.
const LOADS: u32 = 16u;

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let first = group.x * (64u * LOADS) + lid;
    var own = vec4<u32>();
    for (var i = 0u; i < LOADS; i++) {
        let at = first + i * 64u;
        if (at < params.quads) {
            own += words[at];
        }
    }
    atomicAdd(&sum[0], own.x + own.y + own.z + own.w);
}
