//#import fixed
//#import dot
//#import levels
//#import tile
// Queries, keys and values: three products with the same activations. A workgroup has a tile of 32 rows of one of the
// matrices and ROWS rows of the batch, a lane four rows and every SLICES-th group. All matrices have one encoding and
// as many columns.
// Grid: x = tiles of all three, those of the queries first, y = ceil(rows / ROWS), z = 1 + ROWS·y - rows: those along z
// beyond the first have nothing to do.

@group(0) @binding(0) var<uniform> params: Params;
// [R][act_stride]: codes [groups·8] | scales [ceil(groups/4)] | mantissa | exponent; the stride is a
// multiple of four words
@group(0) @binding(1) var<storage, read> act: array<vec4<u32>>;
// The only part of each matrix: codes | scales | row scales.
@group(0) @binding(2) var<storage, read> q_weights: array<vec4<u32>>;
@group(0) @binding(3) var<storage, read> k_weights: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> v_weights: array<vec4<u32>>;
// [R][rows of the matrix]
@group(0) @binding(5) var<storage, read_write> q: array<i32>;
@group(0) @binding(6) var<storage, read_write> k: array<i32>;
@group(0) @binding(7) var<storage, read_write> v: array<i32>;

const Q: u32 = 0u;
const K: u32 = 1u;
const V: u32 = 2u;

fn quad(m: u32, i: u32) -> vec4<u32> {
    if (m == Q) {
        return q_weights[i];
    }
    if (m == K) {
        return k_weights[i];
    }
    return v_weights[i];
}

// What a workgroup has to do.
struct Task {
    tile: u32,
    y: u32,
    slice: u32,
    lane: u32,
    count: u32,
}

// The product of row n of matrix `m`, whose scale is given, with row r of the batch, row i of the workgroup's, from its
// complete sum.
fn finish(m: u32, n: u32, scale: u32, i: u32, r: u32, count: u32, u: Units, low: u32, high: i32) {
    let width = params.rows[m];
    if (n >= width || r >= count) {
        return;
    }
    let value = rounded(low, high, scale, u.mantissas[i], params.exponents[m] - u.exponents[i]);
    if (m == Q) {
        q[r * width + n] = value;
    } else if (m == K) {
        k[r * width + n] = value;
    } else {
        v[r * width + n] = value;
    }
}

fn finish_sums(m: u32, s: Sums, n: u32, scales: vec4<u32>, i: u32, task: Task, u: Units) {
    let r = task.y * ROWS + i;
    finish(m, n, scales.x, i, r, task.count, u, s.low.x, s.high.x);
    finish(m, n + 1u, scales.y, i, r, task.count, u, s.low.y, s.high.y);
    finish(m, n + 2u, scales.z, i, r, task.count, u, s.low.z, s.high.z);
    finish(m, n + 3u, scales.w, i, r, task.count, u, s.low.w, s.high.w);
}

// Sums of the task's tile, which is one of matrix `m`; without slices they are complete and stored.
fn add_tile(m: u32, task: Task, words: vec4<u32>, u: Units) {
    let groups = params.groups;
    let end = select(groups, 0u, task.count == 0u);
    let shift = params.scale_shift;
    let table = halves_of(biased(words));
    let rows = input_rows(task.y, task.count, params.act_stride);
    let scales = params.scales[m] + scale_cell(task.tile, groups, 0u, shift) * 8u + task.lane;
    var p = Products();
    for (var g = task.slice; g < end; g += SLICES) {
        let x = inputs(rows, groups, g);
        p = add_group(p, table, 0u, m, task.tile * groups + g, scales + (g >> shift) * 8u, task.lane, x);
    }
    if (SLICES > 1u) {
        share_products(p, 0u, task.lane);
        return;
    }
    let n = task.tile * TILE_ROWS + task.lane * 4u;
    // The row scales start at a multiple of four words.
    let row_scales = quad(m, (params.row_scales[m] + n) >> 2u);
    finish_sums(m, p.s0, n, row_scales, 0u, task, u);
    if (ROWS > 1u) {
        finish_sums(m, p.s1, n, row_scales, 1u, task, u);
    }
    if (ROWS > 2u) {
        finish_sums(m, p.s2, n, row_scales, 2u, task, u);
        finish_sums(m, p.s3, n, row_scales, 3u, task, u);
    }
}

fn tiles_of(rows: u32) -> u32 {
    return (rows + TILE_ROWS - 1u) / TILE_ROWS;
}

@compute @workgroup_size(8, SLICES)
fn main(
    @builtin(workgroup_id) group: vec3<u32>,
    @builtin(local_invocation_id) local: vec3<u32>,
    @builtin(num_workgroups) workgroups: vec3<u32>,
) {
    let q_tiles = tiles_of(params.rows.x);
    let k_tiles = tiles_of(params.rows.y);
    var task = Task(group.x, group.y, local.y, local.x, batch_rows(group, workgroups));
    let u = units(input_rows(task.y, task.count, params.act_stride), params.groups);
    var m = Q;
    if (group.x >= q_tiles + k_tiles) {
        m = V;
        task.tile -= q_tiles + k_tiles;
    } else if (group.x >= q_tiles) {
        m = K;
        task.tile -= q_tiles;
    }
    if (PAIRS > 1u) {
        let kv_table = select(params.k_table, params.v_table, m == V);
        fill_pairs(select(kv_table, params.q_table, m == Q), 0u, local);
        workgroupBarrier();
    }
    // A branch for each, so that a group's loads stand together.
    if (m == Q) {
        add_tile(Q, task, params.q_table, u);
    } else if (m == K) {
        add_tile(K, task, params.k_table, u);
    } else {
        add_tile(V, task, params.v_table, u);
    }
    if (SLICES == 1u) {
        return;
    }
    workgroupBarrier();
    for (var i = local.y * 8u + local.x; i < ROWS * TILE_ROWS; i += 8u * SLICES) {
        let n = task.tile * TILE_ROWS + i % TILE_ROWS;
        let j = i / TILE_ROWS;
        let scale = word(m, params.row_scales[m] + n);
        let r = group.y * ROWS + j;
        finish(m, n, scale, j, r, task.count, u, atomicLoad(&low_sum[i]), atomicLoad(&high_sum[i]));
    }
}
