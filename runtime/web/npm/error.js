/** An error with one of the package's codes. */
export class CaratError extends Error {
  constructor(code, message, options) {
    super(message, options);
    this.name = "CaratError";
    this.code = code;
  }

  /** Any error as one with a code; what the module itself breaks by is `internal`. */
  static of(error) {
    if (error instanceof CaratError) return error;
    if (error?.name === "AbortError") return new CaratError("aborted", "aborted", { cause: error });
    const code = typeof error?.code === "string" ? error.code : "internal";
    return new CaratError(code, error?.message ?? String(error), { cause: error });
  }
}
