//#import fixed
// cos and sin of every pair at every row's position: one invocation a pair.
// Grid: x = ceil(pairs / 64), y = batch row.

@group(0) @binding(0) var<uniform> params: Params;
// [R][token, position, sequence]
@group(0) @binding(1) var<storage, read> row_table: array<u32>;
// [pairs][low, high]: turns a position in 0.64 fixed point
@group(0) @binding(2) var<storage, read> increments: array<u32>;
// [R][pairs][cos, sin] in Q30
@group(0) @binding(3) var<storage, read_write> angles: array<i32>;

// sin in Q30 of phase / 2^32 turns.
fn sin_q30(phase: u32) -> i32 {
    let quarter = phase & 0x3fffffffu;
    var x = select(quarter, 0x40000000u - quarter, ((phase >> 30u) & 1u) == 1u);
    x = select(x << 2u, 0xffffffffu, x == 0x40000000u);
    let z = mulhi(x, x);
    var p = 172072u - mulhi(3685u, z);
    p = 5026892u - mulhi(p, z);
    p = 85569282u - mulhi(p, z);
    p = 693598666u - mulhi(p, z);
    p = 1686629713u - mulhi(p, z);
    let s = i32(min(mulhi(p, x), 0x40000000u));
    return select(s, -s, (phase >> 31u) == 1u);
}

@compute @workgroup_size(64)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    if (id.x >= params.pairs) {
        return;
    }
    let position = row_table[id.y * ROW_WORDS + 1u];
    let phase = increments[2u * id.x + 1u] * position + mulhi(increments[2u * id.x], position);
    let at = (id.y * params.pairs + id.x) * 2u;
    angles[at] = sin_q30(phase + 0x40000000u);
    angles[at + 1u] = sin_q30(phase);
}
