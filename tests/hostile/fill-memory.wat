;; Fills large memory with single instructions, each of which costs no more than any other in a naive count. | out-of-fuel
(func (export "handle") (param $delivery i32) (result i32)
  (drop (memory.grow (i32.const 1000)))
  (loop $again (memory.fill (i32.const 65536) (i32.const 7) (i32.const 65000000)) (br $again))
  (unreachable))
