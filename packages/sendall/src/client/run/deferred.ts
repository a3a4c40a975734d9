/** A promise settled from outside and created on demand: most promises of a run are never used. */
export class Deferred<T> {
  #outcome: { value: T } | { error: () => Error } | undefined;
  #promise: Promise<T> | undefined;
  #settle: { resolve: (value: T) => void; reject: (error: Error) => void } | undefined;

  get settled(): boolean {
    return this.#outcome !== undefined;
  }

  get promise(): Promise<T> {
    this.#promise ??= this.#make();
    return this.#promise;
  }

  resolve(value: T): void {
    this.#outcome = { value };
    this.#settle?.resolve(value);
  }

  /** `error` is called only when the promise is requested. */
  reject(error: () => Error): void {
    this.#outcome = { error };
    this.#settle?.reject(error());
  }

  #make(): Promise<T> {
    const promise = new Promise<T>((resolve, reject) => (this.#settle = { resolve, reject }));
    // A caller need not handle every promise of a run.
    promise.catch(() => undefined);
    const outcome = this.#outcome;
    if (outcome && 'value' in outcome) this.#settle!.resolve(outcome.value);
    else if (outcome) this.#settle!.reject(outcome.error());
    return promise;
  }
}
