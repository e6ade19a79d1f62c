package dev.carat

import dev.carat.internal.CallResult
import dev.carat.internal.ConversationOptions
import dev.carat.internal.NativeConversation
import dev.carat.internal.NativeStream
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.flow.Flow
import kotlinx.coroutines.flow.FlowCollector
import kotlinx.coroutines.flow.collect
import kotlinx.coroutines.flow.flow
import kotlinx.coroutines.withContext
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.JsonPrimitive
import kotlinx.serialization.json.contentOrNull
import kotlinx.serialization.json.jsonArray
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.serializer

/** How a conversation begins. */
class ConversationBuilder internal constructor() {
    /** The system message. */
    var system: String? = null

    /** Messages that were said before, JSON in OpenAI's form. Each user's message must have an answer. */
    var messages: String? = null

    /** What the model may call: see [tool]. */
    var tools: List<Tool> = emptyList()

    /** Most times that the model calls tools before it must answer. */
    var toolRounds: Int = 8

    /** How tokens are chosen. */
    var sampling: Sampling = Sampling()

    /** The time that the template is told, in seconds since 1970; by default now. */
    var date: Long? = null

    internal fun native() = ConversationOptions(system, tools.json(), messages, sampling.native(), date)
}

/** One message of a conversation. The text of one that only calls tools is empty. */
data class Message(val role: String, val text: String)

/** A conversation, which answers one message at a time. Every thread may use it. */
class Conversation internal constructor(
    private val native: NativeConversation,
    tools: List<Tool>,
    private val toolRounds: Int,
) : AutoCloseable {
    @Volatile private var known = tools.associateBy { it.name }

    /**
     * Says something; the answer comes in pieces. The flow is cold: each collection says it again. A collection that ends early,
     * by its job or by `take`, ends the answer, which stays in the conversation as far as it came; one that ends before its first
     * piece, or fails, takes the message back.
     *
     * Tools that the model calls are run between the pieces. What a tool throws ends the flow; the message then waits for the
     * tool's results, and [undo] takes it back.
     *
     * @param onEnd is told what is known of each text at its end: one for the answer, and one before it for each round of tools.
     */
    fun stream(text: String, options: TextOptions = TextOptions(), onEnd: (Outcome) -> Unit = {}): Flow<Piece> =
        flow { answer(options, onEnd) { native.ask(text, it.native()) } }

    /** Another answer to the last message: as [stream]. */
    fun regenerate(options: TextOptions = TextOptions(), onEnd: (Outcome) -> Unit = {}): Flow<Piece> =
        flow { answer(options, onEnd) { native.regenerate(it.native()) } }

    /** [stream] to its end, with all that is known of the answer. */
    suspend fun ask(text: String, options: TextOptions = TextOptions()): Outcome {
        var last: Outcome? = null
        stream(text, options) { last = it }.collect()
        return last!!
    }

    /** [stream] to its end; returns the answer's text. */
    suspend fun respond(text: String, options: TextOptions = TextOptions()): String = ask(text, options).text

    /**
     * An answer of a type that is `@Serializable`: the model can write nothing that the type's schema does not allow. The prompt
     * should say what is asked for: [Describe] is for people and tools, and the model sees names only.
     *
     * @throws CaratException the answer is cut off by `maxTokens` or the context: it is then in the conversation as far as it came.
     */
    suspend inline fun <reified T> respondAs(text: String, options: TextOptions = TextOptions()): T =
        decodeAnswer(serializer<T>(), ask(text, options.copy(jsonSchema = schemaOf<T>())))

    private suspend fun FlowCollector<Piece>.answer(
        options: TextOptions,
        onEnd: (Outcome) -> Unit,
        start: (TextOptions) -> NativeStream,
    ) {
        var outcome = pull({ start(options) }, onEnd)
        var round = 0
        while (outcome.calls.isNotEmpty() && known.isNotEmpty()) {
            round += 1
            val results = outcome.calls.map { CallResult(it.id, run(it)) }
            val choice = if (round < toolRounds) ToolChoice.Auto else ToolChoice.Never
            val then = options.copy(toolChoice = choice).native()
            outcome = pull({ native.answerCalls(results, then) }, onEnd)
        }
    }

    private suspend fun run(call: Call): String {
        val tool = known[call.name] ?: return "there is no tool ${call.name}"
        return tool.run(call.arguments)
    }

    /** Takes the last message and its answer back; returns the message's text. */
    fun undo(): String? = checked { native.undo() }

    /** All that was said, the system's message first. */
    fun messages(): List<Message> = Json.parseToJsonElement(messagesJson()).jsonArray.map {
        val message: JsonObject = it.jsonObject
        fun text(name: String) = (message[name] as? JsonPrimitive)?.contentOrNull.orEmpty()
        Message(text("role"), text("content"))
    }

    /** All messages as JSON, in OpenAI's form: calls and their results among them. */
    fun messagesJson(): String = checked { native.messages() }

    /** Goes on with other messages, JSON in OpenAI's form. Each user's message must have an answer. */
    fun setMessages(json: String) = checked { native.setMessages(json) }

    /** Sets the system message from the next answer on. */
    fun setSystem(text: String) = checked { native.setSystem(text) }

    /** Sets the tools from the next answer on. */
    fun setTools(tools: List<Tool>) {
        checked { native.setTools(tools.json() ?: "[]") }
        known = tools.associateBy { it.name }
    }

    /** Writes the conversation with its keys and values to a file, which appears when it is whole. [Model.resume] reads it. */
    suspend fun save(path: String) = withContext(Dispatchers.IO) { checked { native.save(path) } }

    /** Ends the answer under way, waits for its thread and gives the memory back. May be called again, from any thread. */
    override fun close() = native.shut()
}
