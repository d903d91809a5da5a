;; Has two memories, each of which is within the limit, and both are not. | out-of-memory
;;: memory 1
(memory $second 1)
(func (export "handle") (param $delivery i32) (result i32)
  (drop (i32.div_u (i32.const 1) (i32.add (memory.grow $memory (i32.const 640)) (i32.const 1))))
  (if (i32.eq (memory.grow $second (i32.const 640)) (i32.const -1)) (then (unreachable)))
  (call $ok))
