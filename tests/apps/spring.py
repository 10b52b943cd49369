"""A Spring Kafka application (spring/): listeners with concurrency 3, transactional KafkaTemplate, dead-letter topics."""

from lab import HERE, Suite, shell

suite = Suite("spring")


def classpath():
    return shell(f"cp=$(maven_classpath spring '{HERE}/spring/pom.xml') && java_build_with \"$cp\" spring '{HERE}/spring/src/main/java/Shop.java'")


@suite.test(180)
def a_shop_bills_each_order_once(lab):
    orders = 5000 if lab.scale > 1 else 500
    shop = lab.java("Shop", lab.bootstrap, lab.fresh("shop"), orders, classpath=classpath(), memory="384m")
    shop.wait(150)
    shop.wait_for(f"OK {orders} orders", 1)


@suite.test(180)
def a_shop_does_not_notice_that_the_broker_is_killed(lab):
    lab.broker.may_be_killed()
    orders = 5000 if lab.scale > 1 else 1000
    prefix = lab.fresh("shop")
    shop = lab.java("Shop", lab.bootstrap, prefix, orders, classpath=classpath(), memory="384m")
    lab.wait_for_records(f"{prefix}-invoices", 100)
    lab.broker.kill9()
    shop.wait(150)
    shop.wait_for(f"OK {orders} orders", 1)
