// Addition to the residual stream `h` with saturation and statistics. Twin: add_residual in
// src/cpu/residual.rs.
fn add_residual(at: u32, v: i32) {
    let exact = add64(extend64(h[at]), extend64(v));
    let s = sat32(exact);
    if (any(extend64(s) != exact)) {
        atomicAdd(&stats[0], 1u);
    }
    if (magnitude(s) > atomicLoad(&stats[1])) {
        atomicMax(&stats[1], magnitude(s));
    }
    h[at] = s;
}
