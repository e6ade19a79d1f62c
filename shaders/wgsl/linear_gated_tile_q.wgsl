//#import fixed
//#import dot
//#import levels
//#import tile
//#import unit
// activation(gate)·up of two products: a workgroup has the same tile of 32 rows of both matrices and ROWS rows of the
// batch, a lane four rows of each and every SLICES-th group. Both matrices have one encoding, shape and layout.
// Grid: x = ceil(part_rows / 32), y = ceil(rows / ROWS), z = 1 + ROWS·y - rows: those along z beyond the first have
// nothing to do.

@group(0) @binding(0) var<uniform> params: Params;
// [R][act_stride]: codes [groups·8] | scales [ceil(groups/4)] | mantissa | exponent; the stride is a
// multiple of four words
@group(0) @binding(1) var<storage, read> act: array<vec4<u32>>;
// The only part of each matrix: codes | scales | row scales.
@group(0) @binding(2) var<storage, read> gate: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> up: array<vec4<u32>>;
// [R][part_rows]
@group(0) @binding(4) var<storage, read_write> out: array<i32>;

const GATE: u32 = 0u;
const UP: u32 = 1u;

fn quad(m: u32, i: u32) -> vec4<u32> {
    if (m == GATE) {
        return gate[i];
    }
    return up[i];
}

// Row scales of the gate and of the up projection: of one row, or of four.
struct Scales {
    gate: vec4<u32>,
    up: vec4<u32>,
}

// The unit of row n of both matrices with row r of the batch, row i of the workgroup's, from their complete sums; the
// scales are those of row n at place k.
fn finish(n: u32, s: Scales, k: u32, i: u32, r: u32, count: u32, u: Units, gate_sum: Sums, up_sum: Sums) {
    if (n >= params.part_rows || r >= count) {
        return;
    }
    let unit = u.exponents[i];
    let g = rounded(gate_sum.low[k], gate_sum.high[k], s.gate[k], u.mantissas[i], params.gate_exponent - unit);
    let v = rounded(up_sum.low[k], up_sum.high[k], s.up[k], u.mantissas[i], params.up_exponent - unit);
    out[r * params.part_rows + n] = gated_unit(g, v);
}

fn finish_sums(g: Sums, v: Sums, n: u32, s: Scales, i: u32, y: u32, count: u32, u: Units) {
    let r = y * ROWS + i;
    finish(n, s, 0u, i, r, count, u, g, v);
    finish(n + 1u, s, 1u, i, r, count, u, g, v);
    finish(n + 2u, s, 2u, i, r, count, u, g, v);
    finish(n + 3u, s, 3u, i, r, count, u, g, v);
}

@compute @workgroup_size(8, SLICES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let count = batch_rows(group, workgroups);
    let rows = input_rows(group.y, count, params.act_stride);
    let lane = local.x;
    let groups = params.groups;
    let u = units(rows, groups);
    let end = select(groups, 0u, count == 0u);
    let shift = params.scale_shift;
    let tile = group.x;
    let gate_table = halves_of(biased(params.gate_table));
    let up_table = halves_of(biased(params.up_table));
    let scales = params.scales + scale_cell(tile, groups, 0u, shift) * 8u + lane;
    if (PAIRS > 1u) {
        fill_pairs(params.gate_table, 0u, local);
        fill_pairs(params.up_table, 256u, local);
        workgroupBarrier();
    }
    var gates = Products();
    var ups = Products();
    for (var g = local.y; g < end; g += SLICES) {
        let x = inputs(rows, groups, g);
        let cell = tile * groups + g;
        let scale = scales + (g >> shift) * 8u;
        gates = add_group(gates, gate_table, 0u, GATE, cell, scale, lane, x);
        ups = add_group(ups, up_table, 256u, UP, cell, scale, lane, x);
    }
    let y = group.y;
    if (SLICES == 1u) {
        let n = tile * TILE_ROWS + lane * 4u;
        // The row scales start at a multiple of four words.
        let at = (params.row_scales + n) >> 2u;
        let s = Scales(quad(GATE, at), quad(UP, at));
        finish_sums(gates.s0, ups.s0, n, s, 0u, y, count, u);
        if (ROWS > 1u) {
            finish_sums(gates.s1, ups.s1, n, s, 1u, y, count, u);
        }
        if (ROWS > 2u) {
            finish_sums(gates.s2, ups.s2, n, s, 2u, y, count, u);
            finish_sums(gates.s3, ups.s3, n, s, 3u, y, count, u);
        }
        return;
    }
    share_products(gates, GATE, lane);
    share_products(ups, UP, lane);
    workgroupBarrier();
    for (var i = local.y * 8u + lane; i < ROWS * TILE_ROWS; i += 8u * SLICES) {
        let j = i + ROWS * TILE_ROWS;
        let n = tile * TILE_ROWS + i % TILE_ROWS;
        let at = params.row_scales + n;
        let s = Scales(vec4<u32>(word(GATE, at)), vec4<u32>(word(UP, at)));
        let g = Sums(vec4<u32>(atomicLoad(&low_sum[i])), vec4<i32>(atomicLoad(&high_sum[i])));
        let v = Sums(vec4<u32>(atomicLoad(&low_sum[j])), vec4<i32>(atomicLoad(&high_sum[j])));
        let row = i / TILE_ROWS;
        finish(n, s, 0u, row, y * ROWS + row, count, u, g, v);
    }
}
