//#import fixed
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

// The product of row n of matrix `m` with row r of the batch from its complete sum.
fn finish(m: u32, n: u32, r: u32, count: u32, low: u32, high: i32) {
    let width = params.rows[m];
    if (n >= width || r >= count) {
        return;
    }
    let tail = r * params.act_stride + params.groups * 8u + (params.groups + 3u) / 4u;
    let exponent = params.exponents[m] - bitcast<i32>(act_word(tail + 1u));
    let value = rounded(low, high, word(m, params.row_scales[m] + n), act_word(tail), exponent);
    if (m == Q) {
        q[r * width + n] = value;
    } else if (m == K) {
        k[r * width + n] = value;
    } else {
        v[r * width + n] = value;
    }
}

fn finish_sums(m: u32, s: Sums, n: u32, r: u32, count: u32) {
    for (var i = 0u; i < 4u; i++) {
        finish(m, n + i, r, count, s.low[i], s.high[i]);
    }
}

// Sums of the task's tile, which is one of matrix `m`; without slices they are complete and stored.
fn add_tile(m: u32, task: Task, words: vec4<u32>) {
    let groups = params.groups;
    let end = select(groups, 0u, task.count == 0u);
    let shift = params.scale_shift;
    let table = halves_of(words);
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
    let r = task.y * ROWS;
    finish_sums(m, p.s0, n, r, task.count);
    if (ROWS > 1u) {
        finish_sums(m, p.s1, n, r + 1u, task.count);
    }
    if (ROWS > 2u) {
        finish_sums(m, p.s2, n, r + 2u, task.count);
        finish_sums(m, p.s3, n, r + 3u, task.count);
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
        add_tile(Q, task, params.q_table);
    } else if (m == K) {
        add_tile(K, task, params.k_table);
    } else {
        add_tile(V, task, params.v_table);
    }
    if (SLICES == 1u) {
        return;
    }
    workgroupBarrier();
    for (var i = local.y * 8u + local.x; i < ROWS * TILE_ROWS; i += 8u * SLICES) {
        let n = task.tile * TILE_ROWS + i % TILE_ROWS;
        let r = group.y * ROWS + i / TILE_ROWS;
        finish(m, n, r, task.count, atomicLoad(&low_sum[i]), atomicLoad(&high_sum[i]));
    }
}
