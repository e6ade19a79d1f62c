//! How long the parts of a conversion take.

use crate::report::{Stage, TensorReport};
use std::time::Instant;

/// How long the parts take.
pub(super) struct Clock {
    last: Instant,
    stages: Vec<Stage>,
}

impl Default for Clock {
    fn default() -> Self {
        Self {
            last: Instant::now(),
            stages: Vec::new(),
        }
    }
}

impl Clock {
    /// Ends a part.
    pub fn stage(&mut self, name: &'static str) {
        let now = Instant::now();
        let seconds = now.duration_since(self.last).as_secs_f64();
        self.last = now;
        self.stages.push(Stage { name, seconds });
    }

    /// The parts that there were. A calibrated quantization is running the text and fitting the matrices.
    pub fn stages(self, tensors: &[TensorReport], calibrated: bool) -> Vec<Stage> {
        let mut out = Vec::new();
        for stage in self.stages {
            if calibrated && stage.name == "quantization" {
                let fitting = tensors.iter().map(|t| t.seconds).sum::<f64>();
                let fitting = fitting.min(stage.seconds);
                out.push(Stage {
                    name: "text through the blocks",
                    seconds: stage.seconds - fitting,
                });
                out.push(Stage {
                    name: "fitting and writing",
                    seconds: fitting,
                });
            } else {
                out.push(stage);
            }
        }
        // What was not asked for took next to nothing.
        out.retain(|s| s.seconds >= 1e-3);
        out
    }
}
