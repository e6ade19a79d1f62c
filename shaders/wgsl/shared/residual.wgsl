// Addition to the residual stream `h` with saturation and statistics. Definition: add_residual in
// src/reference/residual.rs.

// Of what the lane has added.
var<private> saturations: u32;
var<private> largest: u32;

fn add_residual(at: u32, v: i32) {
    let exact = add64(extend64(h[at]), extend64(v));
    let s = sat32(exact);
    saturations += select(0u, 1u, any(extend64(s) != exact));
    largest = max(largest, magnitude(s));
    h[at] = s;
}

// After a lane's last addition: puts what it kept into the statistics.
fn keep_statistics() {
    if (saturations > 0u) {
        atomicAdd(&stats[0], saturations);
    }
    if (largest > atomicLoad(&stats[1])) {
        atomicMax(&stats[1], largest);
    }
}
