;; Grows a table for ever, and traps when it gets no more. | trapped
(table $t 1 funcref)
(func (export "handle") (param $delivery i32) (result i32)
  (loop $again
    (if (i32.eq (table.grow $t (ref.null func) (i32.const 1000)) (i32.const -1)) (then (unreachable)))
    (br $again))
  (unreachable))
