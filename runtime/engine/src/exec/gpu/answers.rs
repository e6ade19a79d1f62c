//! Results on their way to the host: copies that passes make in their own submissions.

use std::collections::VecDeque;

/// The copies; one that is being read is held by its reader.
#[derive(Default)]
pub(super) struct Answers {
    /// Of passes whose results have not been read, the oldest first.
    waiting: VecDeque<(wgpu::Buffer, wgpu::SubmissionIndex)>,
    unused: Vec<wgpu::Buffer>,
}

impl Answers {
    /// Nobody will read the results of the passes so far.
    pub fn forget(&mut self) {
        let waiting = self.waiting.drain(..);
        self.unused.extend(waiting.map(|(buffer, _)| buffer));
    }

    /// A buffer for the next pass's.
    pub fn unused(&mut self) -> Option<wgpu::Buffer> {
        self.unused.pop()
    }

    /// A pass was submitted that copies its results to `buffer`.
    pub fn push(&mut self, buffer: wgpu::Buffer, submission: wgpu::SubmissionIndex) {
        self.waiting.push_back((buffer, submission));
    }

    /// The oldest pass's.
    pub fn oldest(&mut self) -> Option<(wgpu::Buffer, wgpu::SubmissionIndex)> {
        self.waiting.pop_front()
    }

    /// A buffer that has been read, and is not mapped.
    pub fn give_back(&mut self, buffer: wgpu::Buffer) {
        self.unused.push(buffer);
    }
}
