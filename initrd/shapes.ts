/**
 * QuickJS finds the shape of an object (prototype, names, order and flags of its properties) among those that live when a property is
 * added, and then takes it as it is. But while no other object has a shape, adding to an object changes it in place: {a}
 * is gone when {a, b} is made, and the next {a} is made anew, step by step. For the objects of thousands of files that is
 * half of what making them costs, unless for each number of properties an object lives that has the first ones only.
 */

const kept: object[] = [];

/** From now on, objects that get the properties of `sample` in its order share their shapes. */
export function shareShape(sample: object): void {
  const all = Object.entries(sample);
  for (let count = 1; count <= all.length; count++) {
    const object: Record<string, unknown> = Object.create(Object.getPrototypeOf(sample));
    for (let i = 0; i < count; i++) {
      const [name, value] = all[i] as [string, unknown];
      object[name] = value;
    }
    kept.push(object);
  }
}
