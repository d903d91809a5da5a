;; Grows its memory for ever, and traps when it gets no more. | out-of-memory
;;: memory 1
(func (export "handle") (param $delivery i32) (result i32)
  (loop $again
    (if (i32.eq (memory.grow (i32.const 16)) (i32.const -1)) (then (unreachable)))
    (br $again))
  (unreachable))
