/** The connections to brokers that the links of this process share. */
import { completeEngine, type Engine } from '../../keys/engine.js';
import { abortable } from './abortable.js';
import { Broker, type BrokerOptions } from './broker.js';

/** By settings and id: connections that this process shares. */
const shared = new Map<string, Promise<Broker>[]>();

/**
 * A connection with room for another link; opened when there is none.
 * @throws what Broker.connect throws, and the signal's reason.
 */
export async function brokerFor(
  engine: Engine,
  options: BrokerOptions & { signal?: AbortSignal | undefined },
): Promise<Broker> {
  options.signal?.throwIfAborted();
  const complete = completeEngine(engine);
  const key = JSON.stringify([complete, options.id]);
  const list = shared.get(key) ?? [];
  shared.set(key, list);
  for (const each of list) {
    const broker = await abortable(
      each.catch(() => undefined),
      options.signal,
    );
    if (broker?.hasRoom) return broker;
  }
  // Others may wait for it too: one caller's signal does not end it.
  const opening = Broker.connect(complete, options);
  list.push(opening);
  const drop = (): void => {
    void list.splice(list.indexOf(opening), 1);
    if (!list.length && shared.get(key) === list) shared.delete(key);
  };
  opening.then((broker) => void broker.closed.then(drop), drop);
  return await abortable(opening, options.signal);
}
