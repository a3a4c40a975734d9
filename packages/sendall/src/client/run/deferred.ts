/** A promise that is settled from outside, and made when it is asked for: most of a run's are never looked at. */
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

  /** `error` is called once the promise is asked for. */
  reject(error: () => Error): void {
    this.#outcome = { error };
    this.#settle?.reject(error());
  }

  #make(): Promise<T> {
    const promise = new Promise<T>((resolve, reject) => (this.#settle = { resolve, reject }));
    // Not each of a run's promises has to be handled.
    promise.catch(() => undefined);
    const outcome = this.#outcome;
    if (outcome && 'value' in outcome) this.#settle!.resolve(outcome.value);
    else if (outcome) this.#settle!.reject(outcome.error());
    return promise;
  }
}
