//! What an app asks an embedding.

use crate::session::Embedding;

impl Embedding {
    /// The vector at length 1, for databases of vectors; zeros stay zeros.
    pub fn to_vec(&self) -> Vec<f32> {
        self.unit().into_iter().map(|x| x as f32).collect()
    }

    /// The cosine of the angle between two embeddings of one model, −1 to 1: the larger, the more alike are the texts.
    pub fn cosine(&self, other: &Self) -> f64 {
        let products = self.unit().into_iter().zip(other.unit());
        products.map(|(a, b)| a * b).sum()
    }
}
