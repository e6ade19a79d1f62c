import dev.carat.ErrorCode
import dev.carat.Model
import dev.carat.Sampling
import java.io.File
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.async
import kotlinx.coroutines.flow.collect
import kotlinx.coroutines.flow.first
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.coroutines.withContext

fun short(model: Model, seed: Long = 0) = model.conversation {
    system = "You tell stories."
    sampling = Sampling(temperature = 0.8f, seed = seed, maxTokens = 24)
}

fun conversations(all: Harness, model: Model) {
    all.test("a conversation: messages, undo, regenerate") {
        short(model).use { talk ->
            val answer = talk.respond("Tell me of the sea.")
            same(talk.messages().map { it.role }, listOf("system", "user", "assistant"), "roles")
            same(talk.messages().last().text, answer, "the answer")
            talk.regenerate().collect()
            holds(talk.messages().last().text != answer) { "the same answer again" }
            same(talk.undo(), "Tell me of the sea.", "the message")
            same(talk.messages().size, 1, "messages after undo")
            same(talk.undo(), null, "nothing more")
            val other = model.conversation { messages = """[{"role":"user","content":"A"},{"role":"assistant","content":"B"}]""" }
            other.use { same(it.messages().map { m -> m.text }, listOf("A", "B"), "messages that were given") }
        }
    }
    all.test("what take(3) left stays, and the conversation goes on") {
        short(model).use { talk ->
            val pieces = talk.stream("Tell me of the sea.").take(3).toList()
            same(talk.messages().last().text, pieces.joinToString("") { it.text }.trimEnd(), "the answer so far")
            holds(talk.respond("Go on.").isNotEmpty()) { "no answer" }
        }
    }
    all.test("one answer at a time") {
        short(model).use { talk ->
            talk.stream("Tell me of the sea.").take(1).collect {
                fails(ErrorCode.PARAMETER, "a second answer") { talk.respond("And the sky?") }
                fails(ErrorCode.PARAMETER, "undo meanwhile") { talk.undo() }
            }
            holds(talk.respond("Go on.").isNotEmpty()) { "no answer" }
        }
    }
    all.test("two conversations at once answer as they would alone") {
        suspend fun tell(seed: Long) = short(model, seed).use { talk -> List(3) { talk.ask("Tell me of the sea, $it.").ids } }
        val alone = listOf(tell(1), tell(2))
        val both = withContext(Dispatchers.Default) { listOf(async { tell(1) }, async { tell(2) }).map { it.await() } }
        same(both, alone, "ids")
    }
    all.test("a conversation is saved and goes on") {
        val file = File.createTempFile("carat", ".session")
        short(model).use { talk ->
            talk.respond("Tell me of the sea.")
            talk.save(file.path)
            val next = talk.ask("And of the sky.")
            model.resume(file.path) { sampling = Sampling(temperature = 0.8f, maxTokens = 24) }.use { other ->
                val again = other.ask("And of the sky.")
                same(again.ids, next.ids, "ids")
                holds(again.cachedTokens > 20u) { "only ${again.cachedTokens} tokens were kept" }
            }
        }
        file.writeText("no session")
        fails(ErrorCode.FORMAT, "no session") { model.resume(file.path) }
        file.delete()
        fails(ErrorCode.STORAGE, "no file") { model.resume(file.path) }
    }
    all.test("memory is given back, and the device changed, in the middle of an answer") {
        fun plain() = model.conversation { sampling = Sampling(greedy = true, maxTokens = 60) }
        val expected = plain().use { it.ask("Tell me of the sea.") }
        plain().use { talk ->
            var pieces = 0
            var hash = ""
            talk.stream("Tell me of the sea.") { hash = it.logitsHash }.collect {
                pieces += 1
                if (pieces == 2) model.memoryWarning()
                if (pieces == 4) model.enterBackground()
                if (pieces == 6) model.enterForeground()
            }
            same(hash, expected.logitsHash, "hash")
        }
    }
    all.test("closing a conversation ends its answer with an error") {
        val talk = model.conversation { sampling = Sampling(greedy = true, maxTokens = 500) }
        fails(ErrorCode.ABORTED, "the answer") {
            talk.stream("Tell me of the sea.").collect { withContext(Dispatchers.IO) { talk.close() } }
        }
        talk.close()
        fails(ErrorCode.ABORTED, "afterwards") { talk.respond("Go on.") }
        fails(ErrorCode.ABORTED, "messages") { talk.messages() }
    }
    all.test("closing a model ends every answer with an error") {
        val other = open()
        val answers = List(2) { i ->
            async(Dispatchers.Default) {
                val talk = other.conversation { sampling = Sampling(temperature = 1f, seed = i.toLong(), maxTokens = 900) }
                fails(ErrorCode.ABORTED, "the answer") { talk.respond("Tell me of the sea.") }
            }
        }
        kotlinx.coroutines.delay(40)
        launch(Dispatchers.IO) { other.close() }
        launch(Dispatchers.IO) { other.close() }
        answers.forEach { it.await() }
    }
}
