//! The operator `Int8Attention` of 8-bit graphs: attention in integers.
//!
//! ONNX Runtime computes attention in f32 only, which takes nearly half of the time of such a graph at 448
//! pixels. `head` quantises the inputs and computes one head; `loops` has the inner loops for each
//! instruction set.

mod head;
mod loops;
#[cfg(test)]
mod tests;

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use onnx_models::{DOMAIN, INT8_ATTENTION};
use ort::operator::{ComputeContext, Kernel, KernelContext, Operator, OperatorDomain};
use ort::operator::{OperatorInput, OperatorOutput};
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use ort::value::TensorElementType;

use self::head::HeadBuffers;

/// True once ONNX Runtime knows the operator's domain. Opening a session reads ONNX Runtime's table of domains,
/// or adds to it, without a lock.
static IS_DOMAIN_KNOWN: RwLock<bool> = RwLock::new(false);

/// Opens a graph on the CPU, with the operator if `is_int8`.
pub(super) fn commit(
    mut builder: SessionBuilder,
    file: &Path,
    is_int8: bool,
) -> ort::Result<Session> {
    if is_int8 {
        let operators = OperatorDomain::new(DOMAIN)?.add(AttentionOperator::default())?;
        builder = builder.with_operators(operators)?;
    }
    let read = || {
        IS_DOMAIN_KNOWN
            .read()
            .unwrap_or_else(PoisonError::into_inner)
    };
    if is_int8 && !*read() {
        let mut is_known = IS_DOMAIN_KNOWN
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        let session = builder.commit_from_file(file)?;
        *is_known = true;
        return Ok(session);
    }
    let _lock = read();
    builder.commit_from_file(file)
}

/// `softmax(scale * Q K^T) V` for each head, from queries, keys and values `[B, N, D]` to `[B, N, D]`; a head is
/// `D / num_heads` adjacent columns. Attributes: `num_heads` and `scale`.
#[derive(Default)]
struct AttentionOperator {
    pool: BufferPool,
}

/// Free buffers, shared by all nodes of a session, so that they stay in the CPU's cache.
type BufferPool = Arc<Mutex<Vec<HeadBuffers>>>;

impl Operator for AttentionOperator {
    type Kernel<'a> = AttentionKernel;

    fn name(&self) -> &str {
        INT8_ATTENTION
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [const { OperatorInput::required(TensorElementType::Float32) }; 3]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'a>(&self, context: &KernelContext<'a>) -> ort::Result<AttentionKernel> {
        let missing =
            |name| ort::Error::new(format!("{INT8_ATTENTION} needs the attribute `{name}`"));
        let heads: i64 = context
            .get("num_heads")
            .ok_or_else(|| missing("num_heads"))?;
        Ok(AttentionKernel {
            heads: usize::try_from(heads).map_err(|_| missing("num_heads"))?,
            scale: context.get("scale").ok_or_else(|| missing("scale"))?,
            pool: Arc::clone(&self.pool),
        })
    }
}

struct AttentionKernel {
    heads: usize,
    scale: f32,
    pool: BufferPool,
}

impl Kernel for AttentionKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let missing = || ort::Error::new(format!("{INT8_ATTENTION} lacks an input or output"));
        let inputs = [0, 1, 2].map(|index| context.input(index));
        let [queries, keys, values] = inputs.map(|input| input?.ok_or_else(missing));
        let (queries, keys, values) = (queries?, keys?, values?);
        let (shape, queries) = queries.try_extract_tensor::<f32>()?;
        let (key_shape, keys) = keys.try_extract_tensor::<f32>()?;
        let (value_shape, values) = values.try_extract_tensor::<f32>()?;
        let wrong = || {
            let shapes = format!("{shape}, {key_shape} and {value_shape}");
            let heads = self.heads;
            ort::Error::new(format!(
                "{INT8_ATTENTION}: expected [B, N, D] thrice, with D a multiple of {heads}, found {shapes}"
            ))
        };
        let &[batch, tokens, columns] = &shape[..] else {
            return Err(wrong());
        };
        let [batch, tokens, columns] = [batch, tokens, columns].map(|length| length as usize);
        // Nothing in `par_for` may panic, because C calls it.
        let fits = columns > 0 && tokens > 0 && columns.checked_rem(self.heads) == Some(0);
        if shape != key_shape || shape != value_shape || !fits {
            return Err(wrong());
        }
        let mut output = context.output(0, shape.to_vec())?.ok_or_else(missing)?;
        let (_, output) = output.try_extract_tensor_mut::<f32>()?;
        let inputs = [queries, keys, values];
        let width = columns / self.heads;
        let output = Mutex::new(output);
        context.par_for(batch * self.heads, 0, |index| {
            let (slice, head) = (index / self.heads, index % self.heads);
            let first = slice * tokens * columns + head * width;
            let buffers = locked(&self.pool).pop();
            let buffers = buffers.filter(|buffers| buffers.shape() == [tokens, width]);
            let mut buffers = buffers.unwrap_or_else(|| HeadBuffers::new(tokens, width));
            let attended = buffers.attend(inputs.map(|input| &input[first..]), columns, self.scale);
            let rows = attended.chunks_exact(width);
            for (to, row) in locked(&output)[first..].chunks_mut(columns).zip(rows) {
                to[..width].copy_from_slice(row);
            }
            locked(&self.pool).push(buffers);
        })
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
