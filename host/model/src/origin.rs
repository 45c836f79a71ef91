//! Which columns of the source a column is made of.

/// An output column with its inputs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ColumnOrigin {
    /// The output column.
    pub column: String,
    /// The columns of the source that its values are made of, each once; empty: a constant.
    pub inputs: Vec<String>,
    /// How.
    pub derivation: Derivation,
}

/// How the values of a column are made of its inputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Derivation {
    /// They are those of the one input.
    Identity,
    /// By an expression.
    Expression,
    /// By a hash, so that the inputs cannot be read from them.
    Hash,
}
