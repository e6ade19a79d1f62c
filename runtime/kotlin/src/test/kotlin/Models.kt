import dev.carat.Adapter
import dev.carat.ErrorCode
import dev.carat.LoadOptions
import dev.carat.LoadProgress
import dev.carat.LoadStage
import dev.carat.Model
import java.io.File
import kotlin.math.abs
import kotlin.math.sqrt
import kotlinx.coroutines.CancellationException
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.launch

private class Enough : Exception("enough")

fun models(all: Harness, model: Model) {
    all.test("a model is loaded, and says how far") {
        val seen = mutableListOf<LoadProgress>()
        val options = LoadOptions(device = "cpu", map = false)
        Model.load(path, options) { synchronized(seen) { seen += it } }.use { other ->
            same(other.info.architecture, "llama", "architecture")
            same(other.info.bytes.toLong(), File(path).length(), "bytes")
        }
        val last = seen.last { it.stage == LoadStage.READ }
        same(last.done, last.total, "bytes at the end")
    }
    all.test("what progress throws ends the loading") {
        val thrown = runCatching { Model.load(path, LoadOptions(device = "cpu", map = false)) { throw Enough() } }
        holds(thrown.exceptionOrNull() is Enough) { "found $thrown" }
    }
    all.test("a job that ends ends the loading") {
        var after: Model? = null
        val job = launch { after = Model.load(path, LoadOptions(device = "cpu", map = false)) { Thread.sleep(20) } }
        kotlinx.coroutines.delay(5)
        job.cancelAndJoin()
        holds(after == null && job.isCancelled) { "the model was loaded" }
    }
    all.test("errors have codes and lines") {
        fails(ErrorCode.STORAGE, "no file") { Model.load("/nowhere/model.gguf") }
        val text = File.createTempFile("carat", ".gguf").apply { writeText("no model at all, but some bytes") }
        fails(ErrorCode.FORMAT, "no model") { Model.load(text.path) }
        text.delete()
        fails(ErrorCode.PARAMETER, "a device") { Model.load(path, LoadOptions(device = "abacus")) }
        fails(ErrorCode.PARAMETER, "bits") { Model.load(path, LoadOptions(keyBits = 3)) }
        fails(ErrorCode.PARAMETER, "threads") { Model.load(path, LoadOptions(threads = -1)) }
        fails(ErrorCode.MEMORY, "memory") { Model.load(path, LoadOptions(device = "cpu", memoryLimit = 1000)) }
        fails(ErrorCode.STORAGE, "an adapter") { Model.load(path, LoadOptions(adapters = listOf(Adapter("/nowhere")))) }
    }
    all.test("tokens and back") {
        val text = "Crème brûlée, 東京 and 🦀"
        same(model.detokenize(model.tokenize(text)), text, "text")
        fails(ErrorCode.PARAMETER, "a token") { model.detokenize(listOf(1 shl 30)) }
    }
    all.test("embeddings have the length 1") {
        val vector = model.embed("the sea")
        same(vector.size, model.info.embeddingSize.toInt(), "numbers")
        val length = sqrt(vector.sumOf { it.toDouble() * it })
        holds(abs(length - 1.0) < 1e-3) { "length $length" }
        same(model.embed("the sea").toList(), vector.toList(), "again")
    }
    all.test("a closed model answers nothing, and closes again") {
        val other = open()
        val conversation = other.conversation()
        other.close()
        other.close()
        holds(other.isClosed) { "open" }
        fails(ErrorCode.ABORTED, "info") { other.info }
        fails(ErrorCode.ABORTED, "tokenize") { other.tokenize("a") }
        fails(ErrorCode.ABORTED, "complete") { other.complete("a") }
        fails(ErrorCode.ABORTED, "conversation") { other.conversation() }
        fails(ErrorCode.ABORTED, "respond") { conversation.respond("a") }
        conversation.close()
    }
}
