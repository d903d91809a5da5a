;; Makes handles for ever and gives none back. | trapped
(func (export "handle") (param $delivery i32) (result i32) (loop $again (drop (call $subscribe (i64.const 1000000000000))) (br $again)) (unreachable))
