;; Copies large memory with single instructions. | out-of-fuel
(func (export "handle") (param $delivery i32) (result i32)
  (drop (memory.grow (i32.const 1000)))
  (loop $again (memory.copy (i32.const 65536) (i32.const 70000) (i32.const 65000000)) (br $again))
  (unreachable))
