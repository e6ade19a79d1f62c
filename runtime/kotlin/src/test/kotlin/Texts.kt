import dev.carat.ErrorCode
import dev.carat.Model
import dev.carat.Outcome
import dev.carat.Piece
import dev.carat.Sampling
import dev.carat.TextOptions
import kotlinx.coroutines.cancelAndJoin
import kotlinx.coroutines.flow.collect
import kotlinx.coroutines.flow.take
import kotlinx.coroutines.flow.toList
import kotlinx.coroutines.launch
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.int
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.jsonPrimitive

const val PROMPT = "Once upon a time"

fun limit(tokens: Int) = TextOptions(Sampling(greedy = true, maxTokens = tokens))

fun texts(all: Harness, model: Model) {
    all.test("pieces add up to the text") {
        var end: Outcome? = null
        val pieces = model.generate(PROMPT, limit(40)) { end = it }.toList()
        val outcome = end!!
        same(pieces.joinToString("") { it.text }, outcome.text, "text")
        same(pieces.flatMap { it.ids }, outcome.ids, "ids")
        same(outcome.ids.size, 40, "tokens")
        same(outcome.reason, "length", "reason")
        holds(pieces.all { it.text.isNotEmpty() }) { "an empty piece" }
    }
    all.test("the same ids and hash as the command line") {
        val line = System.getenv("CARAT_EXPECT")
        if (line == null) {
            println("      CARAT_EXPECT is not set: nothing of the command line to compare with")
            return@test
        }
        val expected = Json.parseToJsonElement(line).jsonObject
        val outcome = model.complete(PROMPT, limit(16))
        same(outcome.ids.map { it.toInt() }, expected["ids"]!!.jsonArray.map { it.jsonPrimitive.int }, "ids")
        same(outcome.logitsHash, expected["logits_hash"]!!.jsonPrimitive.content, "hash")
    }
    all.test("seeds") {
        fun seeded(seed: Long) = TextOptions(Sampling(temperature = 1f, seed = seed, maxTokens = 24))
        val one = model.complete(PROMPT, seeded(7))
        same(model.complete(PROMPT, seeded(7)).ids, one.ids, "the same seed")
        holds(model.complete(PROMPT, seeded(8)).ids != one.ids) { "another seed gives the same" }
        holds(model.complete(PROMPT, seeded(-1)).ids.size == 24) { "the largest seed" }
    }
    all.test("metrics tell what the model thinks of each token") {
        val pieces = model.generate(PROMPT, limit(8).copy(metrics = 3)).toList()
        val tokens = pieces.flatMap { it.tokens }
        same(tokens.map { it.id }, pieces.flatMap { it.ids }, "ids")
        holds(tokens.all { it.rank == 1u && it.top.size == 3 && it.top[0].id == it.id && it.logprob <= 0 }) { "$tokens" }
    }
    all.test("stop strings") {
        val whole = model.complete(PROMPT, limit(16)).text
        val stop = whole.substring(8, 12)
        val cut = model.complete(PROMPT, TextOptions(Sampling(greedy = true, maxTokens = 16, stops = listOf(stop))))
        same(cut.reason, "stop", "reason")
        holds(whole.startsWith(cut.text) && stop !in cut.text) { "found '${cut.text}'" }
    }
    all.test("take(3) ends a text") {
        var end: Outcome? = null
        same(model.generate(PROMPT, limit(500)) { end = it }.take(3).toList().size, 3, "pieces")
        same(end!!.reason, "cancelled", "reason")
        holds(end!!.ids.size < 20) { "${end!!.ids.size} tokens were computed" }
    }
    all.test("a job that is cancelled ends a text") {
        var end: Outcome? = null
        val seen = mutableListOf<Piece>()
        val job = launch { model.generate(PROMPT, limit(500)) { end = it }.collect { seen += it } }
        while (seen.size < 2) kotlinx.coroutines.yield()
        job.cancelAndJoin()
        same(end!!.reason, "cancelled", "reason")
    }
    all.test("what a collector throws ends a text and is thrown") {
        val thrown = runCatching { model.generate(PROMPT, limit(500)).collect { error("enough") } }
        same(thrown.exceptionOrNull()?.message, "enough", "message")
    }
    all.test("errors of a text") {
        fails(ErrorCode.CONTEXT, "a long prompt") { model.complete("word ".repeat(5000)) }
        fails(ErrorCode.PARAMETER, "a temperature") { model.complete("a", TextOptions(Sampling(temperature = -1f))) }
        fails(ErrorCode.PARAMETER, "two forms") { model.complete("a", TextOptions(jsonSchema = "{}", grammar = "start: \"a\"")) }
        fails(ErrorCode.PARAMETER, "a schema") { model.complete("a", TextOptions(jsonSchema = "{")) }
    }
}
