package dev.carat

import kotlinx.serialization.DeserializationStrategy
import kotlinx.serialization.SerializationException
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.JsonArray
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.put
import kotlinx.serialization.json.putJsonObject
import kotlinx.serialization.serializer

/**
 * What the model may call. [tool] makes one of a function with types.
 *
 * @property parameters the JSON schema of the arguments: an object.
 * @property run is given the arguments, a JSON object that fits the schema, and returns what the model is told.
 */
class Tool(val name: String, val description: String, val parameters: JsonElement, val run: suspend (String) -> String)

/**
 * A tool of a function: `tool("weather", "The weather of a place") { place: Place -> forecast(place) }`.
 *
 * Both types are `@Serializable`. A result that is a `String` reaches the model as it is, any other as JSON.
 */
inline fun <reified A, reified R> tool(name: String, description: String, crossinline run: suspend (A) -> R): Tool =
    Tool(name, description, Json.parseToJsonElement(schemaOf<A>())) { arguments ->
        val result = run(decodeArguments(name, serializer<A>(), arguments))
        if (result is String) result else Json.encodeToString(serializer<R>(), result)
    }

@PublishedApi
internal fun <A> decodeArguments(tool: String, of: DeserializationStrategy<A>, arguments: String): A =
    try {
        Json.decodeFromString(of, arguments)
    } catch (e: SerializationException) {
        throw misfit("the arguments of the tool $tool", e)
    }

@PublishedApi
internal fun <T> decodeAnswer(of: DeserializationStrategy<T>, outcome: Outcome): T {
    if (outcome.complete != true) {
        val code = if (outcome.reason == "context") ErrorCode.CONTEXT else ErrorCode.PARAMETER
        val line = "the answer was cut off after ${outcome.ids.size} tokens (${outcome.reason}); allow more tokens, or ask for less"
        throw CaratException(code, line)
    }
    return try {
        Json.decodeFromString(of, outcome.text)
    } catch (e: SerializationException) {
        throw misfit("the answer", e)
    }
}

private fun misfit(what: String, cause: SerializationException): CaratException {
    val line = "$what fits the schema but not the type: ${cause.message?.lineSequence()?.first()}; make the type's serializer agree with its descriptor"
    return CaratException(ErrorCode.PARAMETER, line, cause = cause)
}

/** In OpenAI's form. A call's arguments follow the schema. */
internal fun List<Tool>.json(): String? {
    if (isEmpty()) return null
    val all = map { tool ->
        buildJsonObject {
            put("type", "function")
            putJsonObject("function") {
                put("name", tool.name)
                put("description", tool.description)
                put("parameters", tool.parameters)
                put("strict", true)
            }
        }
    }
    return JsonArray(all).toString()
}
