;; Takes all the memory that it may have and writes to every page, again and again. | out-of-fuel
(func (export "handle") (param $delivery i32) (result i32) (local $at i32)
  (drop (memory.grow (i32.const 1000)))
  (loop $again
    (i32.store (local.get $at) (i32.const 1))
    (local.set $at (i32.rem_u (i32.add (local.get $at) (i32.const 4096)) (i32.const 65000000)))
    (br $again))
  (unreachable))
